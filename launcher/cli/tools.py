"""The flags of other tools that have a certain meaning here. Pure.

A flag that is not listed gives no suggestion: a wrong one would silently change the run.
"""

from __future__ import annotations

from collections.abc import Mapping

_TORCHRUN = {
    "nnodes": "nodes",
    "nproc_per_node": "slots",
    "max_restarts": "supervise.max_restarts",
    "master_port": "cluster.port",
}
_ACCELERATE = {
    "num_machines": "nodes",
    "num_processes": "ranks",
    "max_restarts": "supervise.max_restarts",
    "main_process_port": "cluster.port",
}
_DEEPSPEED = {
    "num_nodes": "nodes",
    "num_gpus": "slots",
    "master_port": "cluster.port",
    **dict.fromkeys(("H", "hostfile"), "cluster.hostfile"),
}
_HOROVOD = {
    **dict.fromkeys(("np", "num_proc"), "ranks"),
    **dict.fromkeys(("H", "hosts"), "cluster.hosts"),
    "hostfile": "cluster.hostfile",
}
_MPI = {
    **dict.fromkeys(("np", "n"), "ranks"),
    **dict.fromkeys(("N", "npernode"), "slots"),
    **dict.fromkeys(("H", "host", "hosts"), "cluster.hosts"),
    **dict.fromkeys(("hostfile", "machinefile", "f"), "cluster.hostfile"),
    "x": "env",
}
_SLURM_LETTERS = {"p": "partition", "A": "account", "q": "qos", "t": "time", "C": "constraint"}
_SLURM = {
    **dict.fromkeys(("N", "nodes"), "nodes"),
    **dict.fromkeys(("n", "ntasks"), "ranks"),
    "ntasks_per_node": "slots",
    **{
        name: f"cluster.slurm.{_SLURM_LETTERS.get(name, name)}"
        for name in (*_SLURM_LETTERS, *_SLURM_LETTERS.values(), "gres", "exclude", "reservation")
    },
    **{name: f"cluster.slurm.{name}" for name in ("dependency", "array", "mem")},
}
NO_TOOL = {**_TORCHRUN, **_ACCELERATE, **_DEEPSPEED, **_HOROVOD, **_MPI}
del NO_TOOL["N"]  # nodes for Slurm, ranks per node for Open MPI

_MPIRUN = (_MPI, {"backend": "mpi"})
TOOLS: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "torchrun": (_TORCHRUN, {}),
    "accelerate": (_ACCELERATE, {}),
    "deepspeed": (_DEEPSPEED, {}),
    "horovodrun": (_HOROVOD, {"backend": "horovod"}),
    **dict.fromkeys(("mpirun", "mpiexec", "orterun"), _MPIRUN),
    **dict.fromkeys(("srun", "sbatch"), (_SLURM, {"cluster": "slurm"})),
    "python": ({}, {}),
}
"""Tool -> its flags with our keys, and what it means by itself.

`ranks` is the number of all ranks, `env` a variable.
"""
MODULES = {
    "torch.distributed.run": "torchrun",
    "torch.distributed.launch": "torchrun",
    "accelerate.commands.launch": "accelerate",
}
"""Modules that are tools."""
COUNTS = frozenset(("nodes", "slots", "ranks", "cluster.port", "supervise.max_restarts"))
NEEDLESS_SWITCHES = frozenset(
    ("standalone", "multi_gpu", "use_env", "allow_run_as_root", "oversubscribe", "verbose")
) | {"gloo", "pty", "u"}
NEEDLESS_PAIRS = frozenset((("bind_to", "none"), ("map_by", "slot")))
NEEDLESS_VALUES = frozenset(
    [
        "rdzv_backend",
        "rdzv_endpoint",
        "rdzv_id",
        "rdzv_conf",
        "node_rank",
        "machine_rank",
        "master_addr",
        "main_process_ip",
        "start_method",
        "monitor_interval",
        "log_dir",
        "tee",
        "redirects",
        "role",
    ]
)
"""One launcher starts all nodes, shows and keeps all output, and finds out what the others say."""
