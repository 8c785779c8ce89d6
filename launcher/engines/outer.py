"""The variables in which another launcher, around ours, describes its own ranks. Pure.

A shell inside `torchrun`, `mpirun` or a rank of ours exports them. They would give our ranks a
wrong place, and an mpirun inside an mpirun does not start.
"""

from __future__ import annotations

from collections.abc import Mapping

from launcher.engines.table import VARIABLES

_OF_RANKS = frozenset(
    name
    # Not those of Slurm: a batch script has them, too.
    for each in map(VARIABLES.__getitem__, ("torchrun", "horovod", "openmpi", "mpich"))
    for name in (
        each.rank, each.world_size, each.local_rank, each.local_world_size, each.node_rank
    )
    if name
)  # fmt: skip
_NAMES = _OF_RANKS | {
    # torchrun, DeepSpeed
    "GROUP_WORLD_SIZE", "ROLE_NAME", "ROLE_RANK", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    "CROSS_RANK", "CROSS_SIZE", "LOCAL_SIZE",
    # horovodrun
    "HOROVOD_CROSS_RANK", "HOROVOD_CROSS_SIZE", "HOROVOD_HOSTNAME",
    "HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_GLOO_RENDEZVOUS_PORT",
    # Open MPI, MPICH
    "OMPI_UNIVERSE_SIZE", "OMPI_APP_CTX_NUM_PROCS", "OMPI_FIRST_RANKS", "OMPI_NUM_APP_CTX",
    "OMPI_ARGV", "OMPI_COMMAND", "OMPI_FILE_LOCATION", "PRTE_LAUNCHED",
    "HYDI_CONTROL_FD",
    # our own plan
    "LAUNCHER_ATTEMPT", "LAUNCHER_BACKEND", "LAUNCHER_CWD", "LAUNCHER_DEVICE",
    "LAUNCHER_FROZEN_CWD", "LAUNCHER_GPU_SHARED", "LAUNCHER_GRACE_S", "LAUNCHER_IMPORT_FOLDER",
    "LAUNCHER_LOGICAL_SHARDS",
    "LAUNCHER_NODES", "LAUNCHER_NODE_NAME", "LAUNCHER_NODE_RANK", "LAUNCHER_PACKAGES",
    "LAUNCHER_PARENT_PID", "LAUNCHER_RECIPE", "LAUNCHER_RUN_DIR", "LAUNCHER_RUN_ID",
    "LAUNCHER_SLOTS",
}  # fmt: skip
_PREFIXES = (
    "TORCHELASTIC_",
    "OMPI_COMM_WORLD_",
    "OMPI_WORLD_",
    "PMIX_",
    "PMI_",
    "PMI2_",
    "MV2_COMM_WORLD_",
)
_SETTINGS = ("PMIX_MCA_", "PMIX_PREFIX", "PMIX_INSTALL_PREFIX")
_UNDER_OPEN_MPI = ("OMPI_MCA_ess", "OMPI_MCA_orte_", "OMPI_MCA_initial_wdir", "OMPI_MCA_num_procs")
"""Set by a user, these are settings. Under mpirun they describe the rank."""


def without_outer(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without what another launcher says about its own ranks."""
    more = _UNDER_OPEN_MPI if VARIABLES["openmpi"].rank in environ else ()
    return {name: value for name, value in environ.items() if not _is_of_outer(name, more)}


def _is_of_outer(name: str, more: tuple[str, ...]) -> bool:
    if name.startswith(_SETTINGS):
        return False
    return name in _NAMES or name.startswith((*_PREFIXES, *more))
