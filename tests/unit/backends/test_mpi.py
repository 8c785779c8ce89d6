"""The MPI backends: one command on the head, whatever the number of nodes."""

from __future__ import annotations

import json

import pytest

from launcher.backends import BackendRequest, commands
from launcher.errors import ConfigError
from launcher.specs import Cluster, Node, Program, Rendezvous


def request(*slots: int, address: str = "127.0.0.1", gpus: tuple[str, ...] = ()) -> BackendRequest:
    nodes = tuple(
        Node(
            node_rank=rank,
            name=f"n{rank}",
            address=address if rank else "127.0.0.1",
            slots=count,
            gpus=gpus,
        )
        for rank, count in enumerate(slots)
    )
    return BackendRequest(
        run_id="r",
        cluster=Cluster(source="local", nodes=nodes),
        program=Program(path="/p.py", args=("--x", "-np")),
        rendezvous=Rendezvous(address="127.0.0.1", port=1),
        python="/py",
        cwd="/",
        env={rank: {"SAME": "s", "NODE": str(rank)} for rank in range(len(slots))},
    )


@pytest.mark.parametrize("backend", ["mpi", "horovod_mpi"])
def test_one_command_on_the_head_starts_all_ranks(backend: str) -> None:
    (command,) = commands(backend, request(2, 0, 1))
    assert command.node_rank == 0
    at = command.argv.index("mpirun")
    assert command.argv[at : at + 3] == ("mpirun", "-np", "3")
    assert command.argv[-4:] == ("--", "/p.py", "--x", "-np")


def test_ranks_find_the_variables_of_their_own_node() -> None:
    (command,) = commands("mpi", request(1, 1))
    assert json.loads(command.env["LAUNCHER_NODES"]) == [{"NODE": "0"}, {"NODE": "1"}]
    assert command.env["SAME"] == "s"


def test_the_controller_of_horovod_is_said_aloud() -> None:
    (command,) = commands("horovod_mpi", request(1))
    assert command.env["HOROVOD_CONTROLLER"] == "mpi"
    assert all("horovod" in each.argv for each in commands("horovod", request(1, 1)))


def test_a_node_that_is_another_machine_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="n1"):
        commands("mpi", request(1, 1, address="10.0.0.2"))


@pytest.mark.parametrize("backend", ["horovod", "horovod_mpi"])
def test_horovod_refuses_gpus_and_says_what_to_use(backend: str) -> None:
    with pytest.raises(ConfigError, match="n0") as found:
        commands(backend, request(1, gpus=("0",)))
    assert "backend=torchrun" in found.value.hint
