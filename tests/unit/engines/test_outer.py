"""What another launcher around ours says about its ranks does not reach our ranks."""

from __future__ import annotations

import pytest

from launcher.engines.outer import without_outer

OF_MPIRUN = {"OMPI_COMM_WORLD_RANK": "1"}


@pytest.mark.parametrize(
    "name",
    [
        "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE",
        "ROLE_RANK", "ROLE_WORLD_SIZE", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT",
        "TORCHELASTIC_ERROR_FILE", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT",
        "TORCHELASTIC_USE_AGENT_STORE", "CROSS_RANK", "LOCAL_SIZE",
        "HOROVOD_RANK", "HOROVOD_LOCAL_SIZE", "HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_HOSTNAME",
        "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_UNIVERSE_SIZE", "OMPI_WORLD_SIZE", "PRTE_LAUNCHED",
        "PMIX_RANK", "PMIX_SERVER_URI41",
        "PMI_RANK", "PMI_SIZE", "PMI_FD", "MPI_LOCALRANKID", "MPI_LOCALNRANKS",
        "LAUNCHER_RUN_ID", "LAUNCHER_LOGICAL_SHARDS", "LAUNCHER_CWD", "LAUNCHER_GPU_SHARED",
    ],
)  # fmt: skip
def test_places_of_other_ranks_are_dropped(name: str) -> None:
    assert without_outer({name: "1"}) == {}


@pytest.mark.parametrize(
    "name",
    [
        "OMP_NUM_THREADS", "NODE_RANK", "ACCELERATE_MIXED_PRECISION", "OMPI_MCA_btl",
        "OMPI_MCA_orte_keep_fqdn_hostnames", "OMPI_ALLOW_RUN_AS_ROOT", "OMPI_CC", "PMIX_MCA_gds",
        "PMIX_PREFIX", "OPAL_PREFIX", "HOROVOD_TIMELINE", "HOROVOD_GLOO_IFACE", "HYDRA_FULL_ERROR",
        "SLURM_PROCID", "SLURM_JOB_ID", "SLURM_STEP_NUM_TASKS", "TORCH_LOGS",
        "LAUNCHER_STORAGE_ROOT", "LAUNCHER_OF_SOMEBODY",
    ],
)  # fmt: skip
def test_settings_of_the_user_stay(name: str) -> None:
    assert without_outer({name: "1"}) == {name: "1"}


@pytest.mark.parametrize("name", ["OMPI_MCA_ess_base_jobid", "OMPI_MCA_orte_local_daemon_uri"])
def test_under_mpirun_the_settings_that_describe_the_rank_are_dropped(name: str) -> None:
    assert without_outer({**OF_MPIRUN, name: "1", "OMPI_MCA_btl": "tcp"}) == {"OMPI_MCA_btl": "tcp"}
