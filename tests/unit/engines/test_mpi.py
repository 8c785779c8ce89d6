"""The MPI backends: one command on the head, whatever the number of nodes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from launcher.engines import BackendRequest, commands
from launcher.engines.mpi import FLAVOURS
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


def across(*slots: int, interfaces: tuple[str, ...] = ()) -> BackendRequest:
    """The same on machines of their own."""
    base = request(*slots)
    nodes = tuple(
        replace(
            node,
            address=f"10.0.0.{node.node_rank + 1}",
            interface=interfaces[node.node_rank] if interfaces else "",
        )
        for node in base.cluster.nodes
    )
    return replace(base, cluster=replace(base.cluster, source="hostfile", nodes=nodes))


def test_on_one_machine_no_host_is_named() -> None:
    (command,) = commands("mpi", request(2, 1))
    assert "--host" not in command.argv
    assert "OMPI_MCA_plm_rsh_agent" not in command.env


@pytest.mark.parametrize("backend", ["mpi", "horovod_mpi"])
def test_on_several_machines_mpirun_is_told_all_and_each_other_one_gets_an_agent(
    backend: str,
) -> None:
    head, *others = commands(backend, across(2, 1, 1))
    at = head.argv.index("--host")
    assert head.argv[at + 1] == "10.0.0.1:2,10.0.0.2:1,10.0.0.3:1"
    assert [each.node_rank for each in others] == [1, 2]
    assert others[0].argv == ("/py", "-m", "launcher.runtime.mpi_node", "10.0.0.2")
    assert head.env["OMPI_MCA_plm_rsh_agent"] == "/py -m launcher.runtime.rsh_agent"


def test_a_head_without_slots_runs_mpirun_and_no_rank() -> None:
    head, *others = commands("mpi", across(0, 2, 1))
    assert head.node_rank == 0
    assert head.argv[head.argv.index("--host") + 1] == "10.0.0.2:2,10.0.0.3:1"
    assert [each.node_rank for each in others] == [1, 2]


def test_a_worker_without_slots_gets_nothing() -> None:
    assert [each.node_rank for each in commands("mpi", across(1, 0, 1))] == [0, 2]


def test_every_command_carries_its_own_nodes_variables() -> None:
    made = commands("mpi", across(1, 1))
    assert [each.env["NODE"] for each in made] == ["0", "1"]
    assert not any("LAUNCHER_NODES" in each.env for each in made)


def test_mpi_takes_the_interface_that_all_nodes_have() -> None:
    for each in commands("mpi", across(1, 1, interfaces=("eth0", "eth0"))):
        assert each.env["OMPI_MCA_btl_tcp_if_include"] == "eth0"
        assert each.env["OMPI_MCA_oob_tcp_if_include"] == "eth0"
        assert each.env["PRTE_MCA_prte_if_include"] == "eth0"


def test_ranks_take_the_interface_of_their_own_node_where_names_differ() -> None:
    for each in commands("mpi", across(1, 1, interfaces=("eth0", "ens3"))):
        assert "OMPI_MCA_oob_tcp_if_include" not in each.env
        assert json.loads(each.env["LAUNCHER_NODES"]) == [
            {"OMPI_MCA_btl_tcp_if_include": "eth0"},
            {"OMPI_MCA_btl_tcp_if_include": "ens3"},
        ]


def test_without_known_interfaces_mpi_finds_its_way_itself() -> None:
    assert not any("if_include" in name for name in commands("mpi", across(1, 1))[0].env)


def test_an_ipv6_address_is_refused_with_the_name_of_its_node() -> None:
    base = across(1, 1)
    nodes = (base.cluster.head, replace(base.cluster.nodes[1], address="2001:db8::1"))
    with pytest.raises(ConfigError, match="n1"):
        commands("mpi", replace(base, cluster=replace(base.cluster, nodes=nodes)))


def test_what_the_user_sets_for_mpi_wins() -> None:
    asked = across(1, 1, interfaces=("eth0", "ens3"))
    env = {rank: {"OMPI_MCA_btl_tcp_if_include": "ib0"} for rank in (0, 1)}
    made = commands("mpi", replace(asked, env=env))
    assert [each.env["OMPI_MCA_btl_tcp_if_include"] for each in made] == ["ib0", "ib0"]
    assert not any("LAUNCHER_NODES" in each.env for each in made)


@pytest.mark.parametrize("backend", ["horovod", "horovod_mpi"])
def test_horovod_refuses_gpus_and_says_what_to_use(backend: str) -> None:
    with pytest.raises(ConfigError, match="n0") as found:
        commands(backend, request(1, gpus=("0",)))
    assert "backend=torchrun" in found.value.hint


@pytest.mark.parametrize("name", FLAVOURS)
def test_an_exported_setting_of_mpi_wins_over_ours(name: str) -> None:
    asked = replace(request(1, 1), exported={name: "theirs", "OTHER": "x"})
    (command,) = commands("mpi", asked)
    assert command.env[name] == "theirs"
    assert "OTHER" not in command.env


def test_an_exported_interface_of_mpi_wins_over_ours() -> None:
    name = "OMPI_MCA_btl_tcp_if_include"
    asked = replace(across(1, 1, interfaces=("eth0", "eth0")), exported={name: "ib0"})
    assert all(command.env.get(name) is None for command in commands("mpi", asked))
