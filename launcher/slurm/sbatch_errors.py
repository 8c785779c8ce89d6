"""Turns error messages of sbatch into hints."""

from __future__ import annotations

from launcher.errors import PreflightError, nearest
from launcher.slurm.control import call


def hint_for(message: str) -> str:
    """Return what to do about an error message of sbatch."""
    for words, hint in _HINTS:
        if words in message.lower():
            return hint
    if "partition" in message.lower() and "invalid" in message.lower():
        return _partitions(message)
    return "change cluster.slurm.*, or nodes=; `python -m launcher plan ...` prints the script"


_HINTS = (
    (
        "requested node configuration is not available",
        "no nodes have these resources: compare with `sinfo -N -o '%N %c %m %G %f'`",
    ),
    (
        "memory specification can not be satisfied",
        "decrease cluster.slurm.mem=; `sinfo -N -o '%N %m'` lists the memory of the nodes",
    ),
    (
        "invalid account or account/partition combination",
        "set cluster.slurm.account=; `sacctmgr show assoc user=$USER` lists yours",
    ),
    ("invalid qos", "set cluster.slurm.qos=; `sacctmgr show qos format=name` lists them"),
    ("reservation", "set cluster.slurm.reservation=; `scontrol show reservation` lists them"),
    ("time limit", "decrease cluster.slurm.time=; `sinfo -o '%P %l'` lists the limits"),
    ("invalid feature", "set cluster.slurm.constraint=; `sinfo -o '%N %f'` lists the features"),
    ("dependency", "use cluster.slurm.dependency=afterany:JOBID; `squeue --me` lists your jobs"),
    ("job array", "use `0-9`, `1,3,5` or `0-99%4` for cluster.slurm.array="),
    (
        "socket timed out",
        "Slurm may have accepted the job: check with `squeue --me` before you submit again",
    ),
    (
        "could not establish a configuration source",
        "this machine has Slurm's commands but is not part of a cluster: use a login node",
    ),
    ("unable to contact slurm controller", "the controller is down: check with `scontrol ping`"),
    ("unrecognized option", "check cluster.slurm.extra= against `man sbatch` of this cluster"),
    (
        "maximum",
        "you reached a limit of your account or of the cluster: wait for other jobs to end",
    ),
)
"""Part of a message, in lower case -> what to do."""


def _partitions(message: str) -> str:
    try:
        known = call(["sinfo", "--noheader", "--format=%R"]).stdout.split()
    except PreflightError:
        known = []
    wrong = message.lower().partition("partition specified: ")[2].split()
    near = nearest(wrong[0], known) if wrong else None
    guess = f"did you mean `cluster.slurm.partition={near}`? " if near else ""
    return (
        f"{guess}partitions are: {', '.join(sorted(set(known)))}"
        if known
        else ("set cluster.slurm.partition=; `sinfo -s` lists them")
    )
