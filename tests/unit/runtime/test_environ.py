"""The table of environment variables."""

from __future__ import annotations

import pytest

from launcher.errors import ConfigError
from launcher.runtime.environ import LaunchEnviron, RankEnviron, torchrun_variables

PLACES = {
    "torchrun": {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        "GROUP_RANK": "1",
    },
    "horovod": {
        "HOROVOD_RANK": "5",
        "HOROVOD_SIZE": "8",
        "HOROVOD_LOCAL_RANK": "1",
        "HOROVOD_LOCAL_SIZE": "4",
    },
    "openmpi": {
        "OMPI_COMM_WORLD_RANK": "5",
        "OMPI_COMM_WORLD_SIZE": "8",
        "OMPI_COMM_WORLD_LOCAL_RANK": "1",
        "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
        "OMPI_COMM_WORLD_NODE_RANK": "1",
    },
    "mpich": {
        "PMI_RANK": "5",
        "PMI_SIZE": "8",
        "MPI_LOCALRANKID": "1",
        "MPI_LOCALNRANKS": "4",
    },
    "slurm": {
        "SLURM_PROCID": "5",
        "SLURM_STEP_NUM_TASKS": "8",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
        "SLURM_NODEID": "1",
    },
}


@pytest.mark.parametrize("table", PLACES)
def test_every_launcher_tells_the_same_place(table: str) -> None:
    place = RankEnviron.from_environ(PLACES[table])
    assert (place.set_by, place.rank, place.world_size) == (table, 5, 8)
    assert (place.local_rank, place.local_world_size) == (1, 4)


@pytest.mark.parametrize("table", PLACES)
def test_the_node_follows_from_the_slots_where_the_plan_told_them(table: str) -> None:
    place = RankEnviron.from_environ({**PLACES[table], "LAUNCHER_SLOTS": "0,4,1,3"})
    assert place.node_rank == 3
    assert place.local_world_size == 3


def test_a_program_started_alone_is_rank_0_of_1() -> None:
    place = RankEnviron.from_environ({})
    assert (place.rank, place.world_size, place.local_world_size, place.set_by) == (0, 1, 1, "")


def test_mpirun_inside_a_slurm_step_is_what_counts() -> None:
    both = {**PLACES["slurm"], "SLURM_PROCID": "0", **PLACES["openmpi"]}
    assert RankEnviron.from_environ(both).set_by == "openmpi"


def test_the_backend_that_was_asked_for_wins_over_what_else_is_set() -> None:
    both = {**PLACES["torchrun"], **PLACES["openmpi"], "RANK": "0", "LAUNCHER_BACKEND": "mpi"}
    assert RankEnviron.from_environ(both).rank == 5


def test_a_batch_script_is_no_rank() -> None:
    batch = {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0"}
    assert RankEnviron.from_environ(batch).world_size == 1


def test_slurm_nodes_with_unequal_ranks_are_read() -> None:
    unequal = {**PLACES["slurm"], "SLURM_STEP_TASKS_PER_NODE": "2(x2),4", "SLURM_NODEID": "2"}
    assert RankEnviron.from_environ(unequal).local_world_size == 4


@pytest.mark.parametrize("change", [{"RANK": "x"}, {"RANK": "8"}, {"LAUNCHER_SLOTS": "2,b"}])
def test_a_contradiction_is_a_config_error(change: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        RankEnviron.from_environ({**PLACES["torchrun"], **change})


def test_what_we_set_for_torchrun_reads_back_as_the_same_place() -> None:
    place = RankEnviron.from_environ(PLACES["torchrun"])
    assert RankEnviron.from_environ(torchrun_variables(place, group_rank=1, groups=2)) == place


@pytest.mark.parametrize(
    ("table", "engine"),
    [
        ("torchrun", "torchrun"),
        ("horovod", "horovod"),
        ("openmpi", "mpi"),
        ("mpich", "mpi"),
        ("slurm", "torchrun"),
    ],
)
def test_a_bare_launcher_tells_the_engine_unless_one_is_named(table: str, engine: str) -> None:
    assert LaunchEnviron.from_environ(PLACES[table]).backend == engine
    named = {**PLACES[table], "LAUNCHER_BACKEND": "horovod_mpi"}
    if table in ("openmpi", "mpich"):
        assert LaunchEnviron.from_environ(named).backend == "horovod_mpi"


def test_who_says_where_torch_meets_gets_torch_under_mpirun() -> None:
    meets = {**PLACES["openmpi"], "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "2000"}
    assert LaunchEnviron.from_environ(meets).backend == "torchrun"


# What `srun --mpi=pmix -N2 -n3` of Slurm 22.05 gives its last rank, recorded.
UNDER_PMIX = {
    "PMIX_HOSTNAME": "host2",
    "PMIX_NAMESPACE": "slurm.pmix.1.0",
    "PMIX_RANK": "2",
    "PMIX_SECURITY_MODE": "munge,native",
    "PMIX_SERVER_URI4": "pmix-server.36;tcp4://127.0.0.1:38081",
    "PMIX_VERSION": "4.2.2rc2",
    "SLURM_GTIDS": "2",
    "SLURM_LOCALID": "0",
    "SLURM_MPI_TYPE": "pmix",
    "SLURM_NNODES": "2",
    "SLURM_NODEID": "1",
    "SLURM_NTASKS": "3",
    "SLURM_PROCID": "2",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
    "SLURM_TASKS_PER_NODE": "2,1",
}


def test_srun_with_pmix_gives_the_engine_of_mpi_and_the_place_by_slurms_packing() -> None:
    assert LaunchEnviron.from_environ(UNDER_PMIX).backend == "mpi"
    place = RankEnviron.from_environ(UNDER_PMIX)
    assert (place.set_by, place.rank, place.world_size) == ("slurm", 2, 3)
    assert (place.node_rank, place.local_rank, place.local_world_size) == (1, 0, 1)


def test_who_says_where_torch_meets_gets_torch_under_srun_with_pmix() -> None:
    meets = {**UNDER_PMIX, "MASTER_ADDR": "host1", "MASTER_PORT": "2000"}
    assert LaunchEnviron.from_environ(meets).backend == "torchrun"


@pytest.mark.parametrize("backend", ["mpi", "horovod_mpi"])
def test_a_named_engine_of_mpi_finds_its_place_under_srun(backend: str) -> None:
    named = {**UNDER_PMIX, "LAUNCHER_BACKEND": backend}
    assert RankEnviron.from_environ(named).world_size == 3


def test_mpirun_inside_a_step_with_pmix_is_what_counts() -> None:
    inner = {**UNDER_PMIX, **PLACES["openmpi"], "PMIX_NAMESPACE": "2518089729", "PMIX_RANK": "5"}
    assert RankEnviron.from_environ(inner).set_by == "openmpi"


def test_slurms_own_pmi_is_no_mpi_and_tells_no_place_on_the_node() -> None:
    step = {**PLACES["slurm"], "PMI_RANK": "5", "PMI_SIZE": "8"}
    assert LaunchEnviron.from_environ(step).backend == "torchrun"
    assert RankEnviron.from_environ(step).local_rank == 1


def test_mpich_inside_a_slurm_step_is_what_counts() -> None:
    both = {**PLACES["slurm"], "SLURM_PROCID": "0", **PLACES["mpich"]}
    assert RankEnviron.from_environ(both).set_by == "mpich"


def test_launch_environment_without_a_run_folder() -> None:
    launch = LaunchEnviron.from_environ({})
    assert (launch.run_dir, launch.attempt, launch.parent_pid) == (None, 1, None)
    assert launch.logical_shards is None
    eight = LaunchEnviron.from_environ({"LAUNCHER_LOGICAL_SHARDS": "8"})
    assert eight.logical_shards == 8
