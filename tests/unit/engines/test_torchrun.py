"""The torchrun backend: one agent per node with slots, nothing else."""

from launcher.engines import BackendRequest, commands
from launcher.specs import Cluster, Node, Program, Rendezvous


def request(*slots: int) -> BackendRequest:
    nodes = tuple(
        Node(node_rank=rank, name=f"n{rank}", address="127.0.0.1", slots=count)
        for rank, count in enumerate(slots)
    )
    return BackendRequest(
        run_id="r",
        cluster=Cluster(source="local", nodes=nodes),
        program=Program(path="/p.py", args=("--x", "--nnodes")),
        rendezvous=Rendezvous(address="127.0.0.1", port=1),
        python="/py",
        cwd="/",
        env={rank: {"NODE": str(rank)} for rank in range(len(slots))},
    )


def test_unequal_slots_are_passed_on_per_node() -> None:
    made = commands("torchrun", request(2, 1, 1))
    at = [command.argv.index("--nproc-per-node") + 1 for command in made]
    assert [command.argv[index] for command, index in zip(made, at, strict=True)] == ["2", "1", "1"]


def test_a_head_without_slots_gets_no_agent_and_the_next_node_hosts_the_store() -> None:
    made = commands("torchrun", request(0, 2, 1))
    assert [command.node_rank for command in made] == [1, 2]
    assert made[0].argv[made[0].argv.index("--node-rank") + 1] == "0"


def test_arguments_of_the_program_stand_behind_the_separator() -> None:
    (command,) = commands("torchrun", request(1))
    assert command.argv[command.argv.index("--") + 1 :] == ("/p.py", "--x", "--nnodes")


def test_every_command_carries_its_own_nodes_variables() -> None:
    assert [command.env for command in commands("torchrun", request(1, 1))] == [
        {"NODE": "0"},
        {"NODE": "1"},
    ]
