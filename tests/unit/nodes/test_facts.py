from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import pytest

from launcher.nodes.facts import (
    LAUNCHER,
    Gpu,
    Interface,
    NodeFacts,
    NodeNeeds,
    StorageToken,
    ask,
    clock_offset,
    from_answer,
)
from launcher.specs import Node
from launcher.transports import Answer, Reach, Transport, create
from launcher.transports.remote import node_probe
from tests.nodes_request import nodes_request


def test_half_of_the_way_is_taken_off_a_clock() -> None:
    assert clock_offset((100.0, 102.0), (100.75, 101.25)) == (0.0, 0.75)
    assert clock_offset((100.0, 102.0), (110.75, 111.25)) == (10.0, 0.75)


ANSWERED = {"began": 120.75, "ended": 121.25, "facts": {}, "problems": {}}


def test_a_slow_login_makes_its_clock_neither_wrong_nor_less_certain() -> None:
    answer = Answer(node_rank=0, value=ANSWERED, login_s=20.0, asked_at=120.0, seconds=2.0)
    facts = from_answer(answer, "gpu0", (100.0, 140.0))
    assert (facts.clock_offset_s, facts.clock_error_s) == (0.0, 0.75)
    assert (facts.login_s, facts.seconds) == (20.0, 22.0)


def test_a_transport_that_does_not_say_when_it_asked_makes_a_clock_less_certain() -> None:
    facts = from_answer(Answer(node_rank=0, value=ANSWERED, seconds=22.0), "gpu0", (100.0, 140.0))
    assert abs(facts.clock_offset_s) <= facts.clock_error_s == 19.75


def test_no_answer_is_a_problem_with_its_hint() -> None:
    answer = Answer(node_rank=3, problem="connection refused", hint="start sshd", seconds=0.5)
    facts = from_answer(answer, "gpu3", (0.0, 0.0))
    assert (facts.node_rank, facts.name, facts.problem) == (3, "gpu3", "connection refused")
    assert facts.hint == "start sshd"


def test_an_answer_of_another_shape_is_a_problem_and_no_crash() -> None:
    shapes: list[dict[str, object]] = [
        {},
        {"facts": [], "problems": {}},
        {"facts": {}, "problems": {}, "began": "x"},
    ]
    for value in shapes:
        facts = from_answer(Answer(node_rank=0, value=value), "a", (0.0, 0.0))
        assert facts.problem.startswith("its answer cannot be read")


def test_what_is_missing_in_an_answer_keeps_its_default() -> None:
    value = {"facts": {}, "problems": {"host": "no answer within 3 s"}, "began": 1.0, "ended": 1.0}
    facts = from_answer(Answer(node_rank=0, value=value), "a", (1.0, 1.0))
    assert not facts.problem
    assert facts.problems == {"host": "no answer within 3 s"}
    assert facts.free_root is None


def test_devices_that_a_batch_system_gave_win_over_those_that_are_there() -> None:
    gpus = tuple(Gpu(index=str(each), uuid="u", name="n") for each in range(4))

    def usable(visible: str | None) -> tuple[str, ...]:
        facts = NodeFacts(node_rank=0, name="a", gpus=gpus, visible_devices=visible)
        return facts.usable_gpus

    assert usable(None) == ("0", "1", "2", "3")
    assert usable("2,3") == ("2", "3")
    assert usable("") == ()


def test_bridges_and_ipv6_are_addresses_only_when_there_is_no_other() -> None:
    def addresses(*interfaces: Interface) -> list[str]:
        facts = NodeFacts(node_rank=0, name="a", interfaces=interfaces)
        return [each.address for each in facts.addresses]

    docker = Interface(name="docker0", address="172.17.0.1", prefix=16)
    down = Interface(name="eth1", address="10.1.0.1", prefix=24, up=False)
    four = Interface(name="eth0", address="10.0.0.1", prefix=24)
    six = Interface(name="eth0", address="2001:db8::1", prefix=64)
    assert addresses(docker, down, six, four) == ["10.0.0.1"]
    assert addresses(docker, six) == ["2001:db8::1"]
    assert addresses(docker, down) == ["172.17.0.1"]


def test_every_answer_of_the_probe_has_a_field() -> None:
    """A new check is a question of the probe, a field with its name, and a row of `CHECKS`."""
    answers = {*node_probe.QUESTIONS, *node_probe.host({})} - {"host"}
    assert answers <= {each.name for each in dataclasses.fields(NodeFacts)}


NODES = tuple(
    Node(node_rank=rank, name="localhost", address="127.0.0.1", slots=1) for rank in range(2)
)


@pytest.fixture
def transport() -> Transport:
    return create("local", Reach(nodes=NODES, python=sys.executable))


def needs(root: Path, *, write: bool = True) -> NodeNeeds:
    request = nodes_request("hostfile")
    return NodeNeeds(request=request, root=root, ports=(1,), write=write, timeout_s=60)


@pytest.mark.process
def test_real_nodes_tell_what_this_machine_is(transport: Transport, tmp_path: Path) -> None:
    for facts in ask(transport, NODES, needs(tmp_path)):
        assert not facts.problem
        assert not facts.problems
        assert not facts.storage_problem
        assert facts.executable == sys.executable
        assert facts.cpus == len(os.sched_getaffinity(0))
        assert facts.version(LAUNCHER)
        assert facts.code
        assert facts.free_root
        assert "127.0.0.1" in facts.head_name
        assert abs(facts.clock_offset_s) <= facts.clock_error_s + 0.5
    assert list(tmp_path.iterdir()) == []


def test_this_process_answers_for_its_machine_like_a_node(tmp_path: Path) -> None:
    (own,) = ask(None, NODES[:1], needs(tmp_path))
    assert not own.problem
    assert not own.problems
    assert not own.storage_problem
    assert (own.executable, own.cpus) == (sys.executable, len(os.sched_getaffinity(0)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_a_storage_root_that_is_not_there_yet_is_made(transport: Transport, tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    assert not any(each.storage_problem for each in ask(transport, NODES, needs(root)))


@pytest.mark.process
def test_without_permission_to_write_nothing_is_written(
    transport: Transport, tmp_path: Path
) -> None:
    ask(transport, NODES, needs(tmp_path / "none", write=False))
    assert list(tmp_path.iterdir()) == []


def test_a_storage_root_that_cannot_be_written_here_is_told_as_it_is(
    transport: Transport, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        ask(transport, NODES, needs(tmp_path / "file" / "root"))


def test_what_a_node_writes_elsewhere_is_missed_here(tmp_path: Path) -> None:
    class Elsewhere:
        """Its nodes claim to have written, as one does on a folder that was copied to it."""

        def ask(self, source, requests, *, timeout_s):  # type: ignore[no-untyped-def]
            value = {"facts": {}, "problems": {}, "began": 0.0, "ended": 0.0}
            return {rank: Answer(node_rank=rank, value=value) for rank in requests}

    answers = ask(Elsewhere(), NODES, needs(tmp_path))  # type: ignore[arg-type]
    assert {each.storage_problem for each in answers} == {"files that it writes do not appear here"}


def test_all_nodes_share_one_deadline_for_their_files_to_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("time.sleep", lambda s: clock.__setitem__(0, clock[0] + s))
    with StorageToken(tmp_path, active=True) as token:
        for rank in range(100):
            missing = token.checked(NodeFacts(node_rank=rank, name="n"), deadline=2.0)
            assert missing.storage_problem
    assert clock[0] < 2.1
