from __future__ import annotations

from launcher.nodes.facts import Gpu, Interface, NodeFacts, clock_offset, from_answer
from launcher.transports import Answer


def test_half_of_the_way_is_taken_off_a_clock() -> None:
    assert clock_offset((100.0, 102.0), 2.0, (100.75, 101.25)) == (0.0, 0.75)
    assert clock_offset((100.0, 102.0), 2.0, (110.75, 111.25)) == (10.0, 0.75)


def test_a_clock_is_not_blamed_for_an_answer_that_was_asked_for_late() -> None:
    offset, error = clock_offset((100.0, 112.0), 2.0, (110.75, 111.25))
    assert abs(offset) <= error


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
    gpus = tuple(Gpu(index=str(each), uuid="u", name="n", memory_mib=1) for each in range(4))

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
