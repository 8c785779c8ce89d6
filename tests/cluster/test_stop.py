"""After a stop, of whatever kind, nothing of the run lives on any host, and all else does."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from tests.cluster.training import WITHIN_S, Training, training
from tests.lab import Lab
from tests.lab.host import HostProcess

THREE = "cluster.hosts=[host1,host2,host3]"
NEVER = 10**6


@pytest.fixture
def run(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Training]:
    with training(lab, f"run-{abs(hash(request.node.name))}") as made:
        yield made


@pytest.fixture
def strangers(lab: Lab) -> Iterator[list[HostProcess]]:
    """Processes of somebody else, which look like ours but belong to another run."""
    words = [sys.executable, "-c", "import time; time.sleep(10000)", "launcher.runtime.agent"]
    env = {"LAUNCHER_RUN_ID": "another", "LAUNCHER_RUN_DIR": "/shared/another"}
    started = [lab.start(name, words, env=env) for name in lab.names]
    for each in started:
        each.wait_until_entered()
    yield started
    for each in started:
        each.kill_tree()
        each.wait(WITHIN_S)


def start(run: Training) -> HostProcess:
    """Three ranks with two data-loader workers each; one rank wants to hear of no stop."""
    started = run.start("head", THREE, "supervise.grace_s=4", steps=NEVER, workers=2, deaf=[1])
    run.wait_until_step(3)
    found = run.processes()
    assert set(found) == {"host1", "host2", "host3"}
    assert all(len(commands) >= 4 for commands in found.values()), found  # agent, rank, workers
    return started


def all_live(strangers: list[HostProcess]) -> bool:
    return all(each.poll() is None for each in strangers)


@pytest.mark.parametrize("host", ["head", "host4"])
def test_stop_from_any_host_ends_the_run_everywhere(
    run: Training, strangers: list[HostProcess], host: str
) -> None:
    supervisor = start(run)
    code, said = run.types(host, "stop", run.run_id)
    assert code == 0, said
    assert supervisor.wait(WITHIN_S) == 130, supervisor.output.read_text()
    assert run.processes() == {}
    assert all_live(strangers)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["ctrl-c", "hang-up"])
def test_the_end_of_the_terminal_ends_the_run_everywhere(
    run: Training, strangers: list[HostProcess], number: signal.Signals
) -> None:
    supervisor = start(run)
    supervisor.send_signal(number)
    assert supervisor.wait(WITHIN_S) == 130, supervisor.output.read_text()
    assert run.processes() == {}
    assert all_live(strangers)


def test_kill_9_of_the_supervisor_leaves_nothing_on_any_host(
    run: Training, strangers: list[HostProcess]
) -> None:
    supervisor = start(run)
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait(WITHIN_S)
    run.wait_until_gone()
    assert all_live(strangers)
    assert ": lost" in run.types("head", "status", run.run_id)[1]
