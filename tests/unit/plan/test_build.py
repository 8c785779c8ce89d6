"""Building a plan: pure, complete, and printed without a secret."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.errors import ConfigError, UnknownNameError
from launcher.nodes import Machine
from launcher.plan import PlanRequest, build, render
from launcher.plan.build import oversubscribed, oversubscription_notes
from launcher.specs import (
    CheckpointPolicy,
    Cluster,
    Node,
    Plan,
    Program,
    StageItem,
    from_json,
    to_json,
)
from tests.nodes_request import cluster_for, nodes_request

GOLDEN = Path(__file__).parents[2] / "golden" / "plan_local_two_nodes.txt"
AWKWARD = ("--name", "a b", "it's", "$(rm -rf /)", "x;y", "é", "line\nbreak")


def request(nodes: int = 2, **changes: object) -> PlanRequest:
    base = PlanRequest(
        run_id="demo",
        attempt=1,
        storage_root="/data",
        cluster=cluster_for(nodes_request("local", nodes=nodes, device="cpu"), Machine(cpus=4)),
        backend="torchrun",
        program=Program(path="/home/me/train.py", args=AWKWARD),
        python="/usr/bin/python3",
        cwd="/home/me",
        checkpoint=CheckpointPolicy(every_steps=50, keep=2, resume="auto"),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_the_same_request_gives_the_same_plan() -> None:
    assert build(request()) == build(request())


def test_a_plan_round_trips_through_json() -> None:
    plan = build(request(stage=(StageItem(name="model", uri="hf://a/b"),)))
    assert from_json(Plan, to_json(plan)) == plan


def test_a_module_is_printed_as_after_python() -> None:
    plan = build(request(program=Program(path="/p/pkg/x.py", module="pkg.x", args=("--lr", "1"))))
    assert "program:     -m pkg.x --lr 1\n" in render(plan)
    assert from_json(Plan, to_json(plan)) == plan


def test_one_agent_is_started_per_node_and_told_where_to_meet() -> None:
    plan = build(request(nodes=3))
    assert [command.argv[command.argv.index("--node-rank") + 1] for command in plan.commands] == [
        "0",
        "1",
        "2",
    ]
    endpoint = f"{plan.rendezvous.address}:{plan.rendezvous.port}"
    assert all(endpoint in command.argv for command in plan.commands)


def test_arguments_that_would_hurt_a_shell_stand_in_the_argv_unchanged() -> None:
    (first, _) = build(request()).commands
    assert first.argv[-len(AWKWARD) :] == AWKWARD


def test_a_rendered_command_pastes_back_into_the_same_argv() -> None:
    plan = build(request())
    text = render(plan)
    assert all(shlex.join(command.argv) in text for command in plan.commands)


def test_the_derived_port_lies_below_the_ephemeral_range_and_moves_with_every_try() -> None:
    ports = {build(request(port_try=attempt)).rendezvous.port for attempt in range(20)}
    assert all(20_000 <= port < 30_000 for port in ports)
    assert len(ports) > 15


def test_a_port_chosen_by_the_user_is_pinned() -> None:
    rendezvous = build(request(port=12_345)).rendezvous
    assert (rendezvous.port, rendezvous.pinned) == (12_345, True)


def test_a_node_without_slots_coordinates_and_starts_nothing() -> None:
    nodes = (
        Node(node_rank=0, name="head", address="127.0.0.1", slots=0),
        Node(node_rank=1, name="gpu1", address="127.0.0.1", slots=2),
    )
    plan = build(request(cluster=Cluster(source="local", nodes=nodes)))
    (command,) = plan.commands
    assert command.node_rank == 1
    assert command.argv[command.argv.index("--nnodes") + 1] == "1"
    assert any("head" in note for note in plan.notes)


def test_ranks_meet_where_rank_0_is_when_the_head_takes_none() -> None:
    nodes = (
        Node(node_rank=0, name="login", address="10.0.0.1", slots=0),
        Node(node_rank=1, name="gpu1", address="10.0.0.2", slots=1),
    )
    plan = build(request(cluster=Cluster(source="hostfile", nodes=nodes)))
    assert plan.rendezvous.address == "10.0.0.2"
    assert plan.transport == "ssh"


def test_ranks_on_one_node_split_its_cores() -> None:
    node = Node(node_rank=0, name="n", address="127.0.0.1", slots=4, cpus=8)
    (command,) = build(request(cluster=Cluster(source="local", nodes=(node,)))).commands
    assert command.env["OMP_NUM_THREADS"] == "2"


def test_a_cpu_run_hides_the_gpus_and_a_shared_gpu_is_told_to_the_ranks() -> None:
    (command, _) = build(request()).commands
    assert command.env["CUDA_VISIBLE_DEVICES"] == ""
    shared = Node(node_rank=0, name="n", address="127.0.0.1", slots=2, gpus=("0",))
    plan = build(request(cluster=Cluster(source="local", nodes=(shared,))))
    assert plan.commands[0].env["LAUNCHER_GPU_SHARED"] == "1"
    assert plan.device == "cuda"
    assert any("share devices" in note for note in plan.notes)


def test_hubs_are_switched_off_only_when_something_was_staged() -> None:
    bare = build(request()).commands[0].env
    staged = build(request(stage=(StageItem(name="m", uri="hf://a/b"),))).commands[0].env
    assert "HF_HUB_OFFLINE" not in bare
    assert staged["HF_HUB_OFFLINE"] == "1"


def test_what_the_user_sets_wins() -> None:
    env = build(request(env={"OMP_NUM_THREADS": "7"})).commands[0].env
    assert env["OMP_NUM_THREADS"] == "7"


def test_logical_shards_are_told_to_the_ranks_and_bound_their_number() -> None:
    assert "LAUNCHER_LOGICAL_SHARDS" not in build(request()).commands[0].env
    command, _ = build(request(logical_shards=2)).commands
    assert command.env["LAUNCHER_LOGICAL_SHARDS"] == "2"
    with pytest.raises(ConfigError, match="3 ranks cannot share logical_shards=2"):
        build(request(nodes=3, logical_shards=2))


def test_on_gpus_the_plan_says_that_logical_shards_are_not_verified() -> None:
    node = Node(node_rank=0, name="n", address="127.0.0.1", slots=1, gpus=("0",))
    gpu = Cluster(source="local", nodes=(node,))
    assert any(
        "not verified" in note for note in build(request(cluster=gpu, logical_shards=2)).notes
    )
    assert not build(request(cluster=gpu)).notes
    assert not build(request(logical_shards=2)).notes


def test_an_unknown_backend_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        build(request(backend="torchrn"))
    assert "did you mean `torchrun`" in caught.value.hint


def test_the_rendered_plan_is_as_agreed() -> None:
    text = render(build(request(stage=(StageItem(name="model", uri="hf://a/b"),)))) + "\n"
    assert text == GOLDEN.read_text(), (
        "the printed plan changed; if that is meant, accept it with: python tests/golden/accept.py"
    )


def node(rank: int, slots: int, cpus: int, gpus: tuple[str, ...] = ()) -> Node:
    return Node(
        node_rank=rank, name=f"n{rank}", address=f"10.0.0.{rank}", slots=slots, cpus=cpus, gpus=gpus
    )


def cluster(*nodes: Node, source: str = "local") -> Cluster:
    return Cluster(nodes=nodes, source=source)


def test_ranks_that_outnumber_the_cores_of_a_cpu_node_are_noted() -> None:
    (note,) = oversubscription_notes(cluster(node(0, 1000, 2)))
    assert note.startswith("1000 ranks share 2 cores on n0: ")
    assert oversubscription_notes(cluster(node(0, 2, 2), node(1, 8, 2, gpus=("0",)))) == ()


def test_nodes_alike_share_a_sentence() -> None:
    found = oversubscription_notes(cluster(*(node(rank, 4, 2) for rank in range(5)), node(5, 3, 1)))
    assert [note.partition(":")[0] for note in found] == [
        "4 ranks share 2 cores on each of n0, n1, n2 and 2 more",
        "3 ranks share 1 core on n5",
    ]


def test_nodes_that_pretend_or_that_nobody_asked_are_left_out() -> None:
    many = cluster(node(0, 1000, 1))
    assert oversubscription_notes(replace(many, source="sim")) == ()
    assert oversubscription_notes(replace(many, source="hostfile")) == ()
    assert oversubscription_notes(replace(many, source="slurm"))


def test_how_many_a_core_may_carry_can_be_said() -> None:
    assert oversubscribed(cluster(node(0, 128, 2)), ranks_per_core=64) == ()
    assert oversubscribed(cluster(node(0, 129, 2)), ranks_per_core=64)
