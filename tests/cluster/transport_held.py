"""A transport that is held on the head of a lab, as the tests see it from outside."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict

from tests.lab import HostProcess, Lab
from tests.lab.commands import wait_until
from tests.lab.host import REPOSITORY

WITHIN_S = 60
_PROCESSES_PER_NODE = 2


ASKING = """
import json, sys
from launcher.transports import Reach, create
from tests.cluster.transport_driver import nodes_of
names = sys.argv[2:]
transport = create(sys.argv[1], Reach(nodes=nodes_of(names), python=sys.executable, lost_after_s=5))
source = "import json, os; print(json.dumps({'host': os.uname().nodename}))"
answers = transport.ask(source, dict.fromkeys(range(len(names)), {}), timeout_s=10)
transport.close()
print(json.dumps({names[rank]: [a.value, a.problem, a.hint] for rank, a in answers.items()}))
"""


class State(TypedDict):
    code: int | None
    lost: str


class Held:
    """Commands on hosts of a lab, and the process on the head that started them."""

    def __init__(self, lab: Lab, kind: str, hosts: Sequence[str], before: Sequence[str]) -> None:
        self._lab = lab
        self.hosts = tuple(hosts)
        self._mark = uuid.uuid4().hex
        self._folder = lab.shared / self._mark
        self._folder.mkdir()
        self._folder.chmod(0o777)
        words = (sys.executable, "-m", "tests.cluster.transport_driver", kind)
        self.driver: HostProcess = lab.start(
            "head",
            [*before, *words, f"/shared/{self._mark}", self._mark, *hosts],
            cwd=str(REPOSITORY),
        )

    def kill_the_supervisor(self) -> None:
        """Kill the process that holds the transport, and nothing else."""
        (supervisor,) = (
            each.pid
            for each in self._lab.processes("head")
            if self._mark in each.command and each.command.startswith(sys.executable)
        )
        self._lab.run("head", ["kill", "-KILL", str(supervisor)])

    def pids(self, host: str) -> list[int]:
        """Return what lives of the command on `host`."""
        return [each.pid for each in self._lab.processes(host, environ=f"LT_MARK={self._mark}")]

    def lives_on(self, *hosts: str) -> bool:
        return all(len(self.pids(host)) == _PROCESSES_PER_NODE for host in hosts)

    def is_gone_from(self, *hosts: str) -> bool:
        return not any(self.pids(host) for host in hosts)

    def state(self, host: str) -> State:
        state: State = json.loads((self._folder / "states.json").read_text())[host]
        return state

    def states(self) -> dict[str, State]:
        return {host: self.state(host) for host in self.hosts}

    def close(self) -> None:
        (self._folder / "close").touch()
        assert self.driver.wait(WITHIN_S) == 0, self.driver.output.read_text()

    def wait_for(self, what: str, is_so: Callable[[], bool]) -> None:
        try:
            wait_until(what, is_so, WITHIN_S)
        except Exception as error:
            error.add_note(self.driver.output.read_text())
            raise


@contextmanager
def held(lab: Lab, kind: str, hosts: Sequence[str], before: Sequence[str] = ()) -> Iterator[Held]:
    """Start a command on all `hosts` and wait until they all live."""
    holding = Held(lab, kind, hosts, before)
    try:
        holding.wait_for("all commands", lambda: holding.lives_on(*hosts))
        holding.wait_for("the states", (holding._folder / "states.json").exists)
        yield holding
    finally:
        holding.driver.kill_tree()
        holding.driver.wait()


def ask(
    lab: Lab, kind: str, hosts: Sequence[str], before: Sequence[str] = ()
) -> dict[str, list[Any]]:
    """Ask all `hosts` for their names, from the head; return value, problem and hint of each."""
    asking = [*before, sys.executable, "-c", ASKING, kind, *hosts]
    done = lab.run("head", asking, cwd=str(REPOSITORY), timeout_s=120)
    answers: dict[str, list[Any]] = json.loads(done.stdout)
    return answers
