"""Whether this machine can run the ranks."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from launcher.preflight.check import Subject, Trouble

SHM = Path("/dev/shm")  # noqa: S108 - the very folder is what we ask about
_SHM_PER_RANK = 16 * 2**20
_DRIVER = Path("/proc/driver/nvidia/version")


def shared_memory(subject: Subject) -> Trouble | None:
    """Ranks and their data loaders pass tensors through /dev/shm; when full they die of SIGBUS."""
    ranks = max((node.slots for node in subject.plan.cluster.nodes), default=0)
    if not SHM.is_dir():
        return None
    free = shutil.disk_usage(SHM).free
    wanted = _SHM_PER_RANK * ranks
    if free >= wanted:
        return None
    return Trouble(
        what=f"only {free / 2**20:.0f} MiB are free in {SHM}, {wanted / 2**20:.0f} MiB are wanted",
        hint=f"delete what is left over in {SHM}, or in a container give more: --shm-size=1g",
    )


def cuda(subject: Subject) -> Trouble | None:
    """A driver that answers; which devices there are, the cluster was resolved with already."""
    if subject.plan.device != "cuda" or _DRIVER.exists() or _nvidia_smi_answers():
        return None
    return Trouble(
        what="device=cuda, but this machine has no NVIDIA driver that answers",
        hint="use device=cpu, or look at what `nvidia-smi` says",
    )


def python(subject: Subject) -> Trouble | None:
    """The interpreter that every node's command starts with."""
    for command in subject.plan.commands:
        name = command.argv[0]
        if shutil.which(name, path=command.env.get("PATH", os.environ.get("PATH"))) is None:
            return Trouble(
                what=f"the interpreter `{name}` of node {command.node_rank} cannot be executed",
                hint="give one that exists: cluster.python=/path/to/python",
            )
    return None


def _nvidia_smi_answers() -> bool:
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, check=False, timeout=8)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.returncode == 0 and b"GPU" in found.stdout
