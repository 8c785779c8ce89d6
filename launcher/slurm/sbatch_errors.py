"""From what sbatch says to what the person can do."""

from __future__ import annotations

from launcher.errors import PreflightError, nearest
from launcher.slurm.control import call


def hint_for(said: str) -> str:
    """Return what to do about a refusal of sbatch."""
    for words, hint in _HINTS:
        if words in said.lower():
            return hint
    if "partition" in said.lower() and "invalid" in said.lower():
        return _partitions(said)
    return (
        "change what it names: the keys cluster.slurm.*, or nodes=; `python -m launcher plan ...` "
        "prints the script"
    )


_HINTS = (
    (
        "requested node configuration is not available",
        "no nodes have that much: compare what was asked with `sinfo -N -o '%N %c %m %G %f'`",
    ),
    (
        "memory specification can not be satisfied",
        "give less with cluster.slurm.mem=; `sinfo -N -o '%N %m'` tells what nodes have",
    ),
    (
        "invalid account or account/partition combination",
        "set cluster.slurm.account=; `sacctmgr show assoc user=$USER` lists yours",
    ),
    ("invalid qos", "set cluster.slurm.qos=; `sacctmgr show qos format=name` lists them"),
    ("reservation", "set cluster.slurm.reservation=; `scontrol show reservation` lists them"),
    ("time limit", "give less with cluster.slurm.time=; `sinfo -o '%P %l'` tells what is allowed"),
    ("invalid feature", "set cluster.slurm.constraint=; `sinfo -o '%N %f'` lists the features"),
    ("dependency", "cluster.slurm.dependency= wants `afterany:JOBID`; `squeue --me` lists yours"),
    ("job array", "cluster.slurm.array= wants `0-9`, `1,3,5` or `0-99%4`"),
    (
        "socket timed out",
        "Slurm may have taken the job all the same: look with `squeue --me` before you repeat it",
    ),
    (
        "could not establish a configuration source",
        "this machine has Slurm's commands but belongs to no cluster: type it on a login node",
    ),
    ("unable to contact slurm controller", "the controller is down: ask `scontrol ping`"),
    ("unrecognized option", "check cluster.slurm.extra= against `man sbatch` of this cluster"),
    ("maximum", "a limit of your account or of the cluster: wait until other jobs have ended"),
)
"""Words of sbatch, in lower case -> what to do."""


def _partitions(said: str) -> str:
    try:
        known = call(["sinfo", "--noheader", "--format=%R"]).stdout.split()
    except PreflightError:
        known = []
    wrong = said.lower().partition("partition specified: ")[2].split()
    near = nearest(wrong[0], known) if wrong else None
    guess = f"did you mean `cluster.slurm.partition={near}`? " if near else ""
    return (
        f"{guess}partitions are: {', '.join(sorted(set(known)))}"
        if known
        else ("set cluster.slurm.partition=; `sinfo -s` lists them")
    )
