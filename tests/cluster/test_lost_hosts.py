"""Hosts that go away in the middle of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.cluster.training import WITHIN_S, Training, training
from tests.lab import Lab

THREE = "cluster.hosts=[host1,host2,host3]"
ALL_SAMPLES = list(range(12 * 40))


@pytest.fixture
def run(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Training]:
    with training(lab, f"run-{abs(hash(request.node.name))}") as made:
        yield made


def cut_off(lab: Lab, host: str) -> None:
    lab.partition(host, [name for name in lab.names if name != host])


FAULTS: dict[str, Callable[[Lab, str], None]] = {
    "crash": Lab.crash,
    "poweroff": Lab.poweroff,
    "freeze": Lab.freeze,
    "partition": cut_off,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_run_goes_on_without_a_lost_worker_and_no_sample_is_lost(
    run: Training, fault: str
) -> None:
    supervisor = run.start("head", THREE, "supervise.lost_after_s=8")
    run.wait_until_step(7)
    FAULTS[fault](run.lab, "host2")
    assert supervisor.wait(WITHIN_S) == 0, supervisor.output.read_text()

    (lost,) = run.events(kind="node_lost")
    assert lost["node"] == "host2"
    output = supervisor.output.read_text()
    assert "lost        node host2" in output
    assert "continues with 2 of 3 nodes: without host2" in output
    (ended,) = run.events(kind="attempt_ended")
    assert ended["cause"].startswith("node 1 (host2) was lost: ")
    assert run.nodes(2) == ["host1", "host3"]
    assert sorted(run.samples()) == ALL_SAMPLES
    run.lab.repair()
    run.wait_until_gone()  # a host that comes back to life ends what it still had


def test_a_spare_takes_the_place_of_a_lost_host_which_is_used_again_when_it_is_back(
    run: Training,
) -> None:
    supervisor = run.start(
        "head",
        *("cluster.hosts=[host1,host2,host3]", "nodes=2", "cluster.spares=[host3]"),
        slow=[1, 2],
    )
    run.wait_until_step(7)
    run.lab.crash("host2")
    run.wait_until_step(12, attempt=2)
    assert run.nodes(2) == ["host1", "host3"]
    assert "continues with host3 in place of host2: 2 nodes" in supervisor.output.read_text()
    run.lab.boot("host2")
    run.lab.crash("host3")
    assert supervisor.wait(WITHIN_S) == 0, supervisor.output.read_text()
    assert run.nodes(3) == ["host1", "host2"]


def test_too_few_hosts_are_the_end_with_their_names(run: Training) -> None:
    supervisor = run.start("head", THREE, "cluster.min_nodes=3")
    run.wait_until_step(3)
    run.lab.crash("host3")
    assert supervisor.wait(WITHIN_S) == 5, supervisor.output.read_text()
    _, why = run.types("head", "why", run.run_id)
    assert "node 2 (host3) was lost" in why
    assert "cluster.min_nodes=3" in why
    assert "host3" in why.partition("NOT RESTARTED")[2]
    run.wait_until_gone()


def test_a_run_whose_head_is_lost_is_resumed_from_another_host(run: Training) -> None:
    supervisor = run.start("host1", THREE)
    run.wait_until_step(7)
    run.lab.crash("host1")
    supervisor.wait(WITHIN_S)
    code, said = run.types("host2", "resume", run.run_id)
    assert code == 3, said
    assert "if host1 is down, repeat the command in" in said

    def resumed() -> int:
        while True:
            code, said = run.types("host2", "resume", run.run_id)
            if code != 3 or "if host1 is down" not in said:
                assert "step 40" in said or code == 0, said
                return code

    assert resumed() == 0
    assert run.nodes(2) == ["host2", "host3"]
    assert sorted(run.samples()) == ALL_SAMPLES
    run.wait_until_gone()
