"""Slurm's settings for a lab: short waits, hosts that appear larger than they are, no cgroups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

CONTROLLER = "head"
CPUS = 16
_MEMORY_MB = 64_000

_SETTINGS = """\
ClusterName=lab
SlurmUser=root
AuthType=auth/munge
# The default of 120 s is also how long a requeued job waits.
AuthInfo=cred_expire=5
StateSaveLocation=/local/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=/local/jobcomp.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,bf_interval=5
# Use the declared CPUs and memory, not those of this machine.
SlurmdParameters=config_overrides
GresTypes=gpu
MpiDefault=none
ReturnToService=2
SlurmctldTimeout=15
SlurmdTimeout=15
MessageTimeout=10
KillWait=5
MinJobAge=600
JobRequeue=1
InactiveLimit=0
PropagateResourceLimits=NONE
"""

# slurmd loads a cgroup plugin even if nothing uses it, and may fail with its own choice.
_CGROUP = "CgroupPlugin=cgroup/v1\n"


def write_settings(folder: Path, addresses: Mapping[str, str], gpus: int) -> None:
    """Write slurm.conf, cgroup.conf and gres.conf; the controller itself runs no jobs."""
    gres = f" Gres=gpu:h100:{gpus}" if gpus else ""
    nodes = "".join(
        f"NodeName={host} NodeAddr={address} CPUs={CPUS} Boards=1 SocketsPerBoard=1"
        f" CoresPerSocket={CPUS} ThreadsPerCore=1 RealMemory={_MEMORY_MB}{gres} State=UNKNOWN\n"
        for host, address in addresses.items()
        if host != CONTROLLER
    )
    folder.mkdir()
    (folder / "slurm.conf").write_text(
        f"{_SETTINGS}SlurmctldHost={CONTROLLER}({addresses[CONTROLLER]})\n{nodes}"
        "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
    )
    (folder / "cgroup.conf").write_text(_CGROUP)
    if gpus:  # Slurm counts device files; a bare Count=8 leaves the node invalid
        (folder / "gres.conf").write_text(f"Name=gpu Type=h100 File=/dev/nvidia[0-{gpus - 1}]\n")
