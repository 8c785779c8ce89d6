"""`cluster=hostfile` on real hosts: who becomes a node, with how many ranks, under every engine."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.engine_scripts import ENGINES, TORCH, WHO, reported
from tests.lab import Lab
from tests.lab.commands import wait_until
from tests.lab.host import REPOSITORY

WITHIN_S = 300


@dataclass
class Person:
    """Somebody on the head, in a folder that all hosts see."""

    lab: Lab
    cwd: Path
    number: Iterator[int]

    @property
    def there(self) -> str:
        """The folder, as the hosts call it."""
        return f"/shared/{self.cwd.name}"

    def types(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = self.lab.run(
            "head",
            [sys.executable, "-m", "launcher", *words],
            cwd=self.there,
            timeout_s=WITHIN_S,
            check=False,
        )
        assert not check or done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done

    def runs(self, engine: str, *words: str) -> list[dict[str, Any]]:
        """Run the script and return what its ranks tell, in their order."""
        run_id = f"run{next(self.number)}"
        (self.cwd / "who.py").write_text(WHO.format(engine=engine))
        done = self.types(
            "recipe=script", "script=who.py", f"run_id={run_id}", "device=cpu", *words
        )
        found = reported(self.cwd / "outputs" / "runs" / run_id)
        assert found, done.stdout + done.stderr
        return found


@pytest.fixture
def person(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Person]:
    cwd = lab.shared / f"person-{abs(hash(request.node.name))}"
    cwd.mkdir()
    yield Person(lab, cwd, itertools.count(1))
    shutil.rmtree(cwd)


def hosts(found: list[dict[str, Any]]) -> list[str]:
    return [each["host"] for each in found]


@pytest.mark.parametrize(("backend", "engine"), list(ENGINES.values()), ids=list(ENGINES))
def test_three_hosts_take_two_and_one_and_one_ranks(
    person: Person, backend: str, engine: str
) -> None:
    (person.cwd / "hosts.txt").write_text("host1 slots=2\nhost[2-3] slots=1\n")
    found = person.runs(
        engine, "cluster=hostfile", "cluster.hostfile=hosts.txt", f"backend={backend}"
    )
    assert hosts(found) == ["host1", "host1", "host2", "host3"]
    assert [each["node_rank"] for each in found] == [0, 0, 1, 2]
    assert [each["name"] for each in found] == ["host1", "host1", "host2", "host3"]
    assert {(each["world"], each["sum"]) for each in found} == {(4, 6.0)}
    assert {each["interface"] for each in found} == {"eth0"}


@pytest.mark.parametrize(("backend", "engine"), list(ENGINES.values()), ids=list(ENGINES))
def test_a_head_without_slots_takes_no_rank(person: Person, backend: str, engine: str) -> None:
    found = person.runs(
        engine,
        "cluster=hostfile",
        "cluster.hosts=[head slots=0,host1 slots=2,host2]",
        f"backend={backend}",
    )
    assert hosts(found) == ["host1", "host1", "host2"]
    assert [each["node_rank"] for each in found] == [1, 1, 2]


def test_what_the_user_exported_reaches_the_ranks_of_every_host(person: Person) -> None:
    """A host would set other values at login, and relative folders mean the user's."""
    project = person.cwd / "project"
    for folder in ("project/src", "lib", "tools"):
        (person.cwd / folder).mkdir(parents=True)
    (project / "src" / "inside.py").touch()
    (person.cwd / "lib" / "beside.py").touch()
    (person.cwd / "tools" / "show.py").write_text(
        "import inside, beside, json, os, pathlib, socket\n"
        "out = pathlib.Path(os.environ['LAUNCHER_RUN_DIR'], os.environ['RANK'] + '.txt')\n"
        "out.write_text(json.dumps({**os.environ, 'host': socket.gethostname()}))\n"
    )
    mine = {
        "OMP_NUM_THREADS": "7",
        "OMP_WAIT_POLICY": "ACTIVE",
        "TOKENIZERS_PARALLELISM": "true",
        "GLOO_SOCKET_IFNAME": "lo,eth0",
        "PYTHONUNBUFFERED": "",
        "HF_HOME": "/shared/hf",
    }
    of_another = {"RANK": "7", "WORLD_SIZE": "8", "TORCHELASTIC_ERROR_FILE": "/outer.json"}
    done = person.lab.run(
        "head",
        [
            *(sys.executable, "-m", "launcher", "recipe=script", "script=../tools/show.py"),
            *("cluster=hostfile", "cluster.hosts=[host1,host2]", "device=cpu", "slots=1"),
            "run_id=shown",
        ],
        cwd=f"{person.there}/project",
        env={**mine, **of_another, "PYTHONPATH": f"{REPOSITORY}:src:../lib", "MY_FLAG": "1"},
        timeout_s=WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = project / "outputs" / "runs" / "shown"
    found = [json.loads((run / f"{rank}.txt").read_text()) for rank in range(2)]
    assert [each["host"] for each in found] == ["host1", "host2"]
    for rank, each in enumerate(found):
        assert {name: each.get(name) for name in mine} == mine
        assert (each["RANK"], each["WORLD_SIZE"]) == (str(rank), "2")
        assert each["TORCHELASTIC_ERROR_FILE"].endswith(f"/ranks/error-{rank:04d}.json")
        assert "MY_FLAG" not in each


def test_an_interface_that_one_host_lacks_is_named_before_anything_starts(person: Person) -> None:
    (person.cwd / "train.py").write_text("raise SystemExit('started')\n")
    words = ("cluster=hostfile", "cluster.hosts=[host1,host2]", "env.GLOO_SOCKET_IFNAME=eth7")
    done = person.types("recipe=script", "script=train.py", "device=cpu", *words, check=False)
    assert done.returncode == 3
    assert "GLOO_SOCKET_IFNAME=eth7, but its interfaces are eth0, lo" in done.stderr


@pytest.fixture
def other_interface(lab: Lab) -> Iterator[str]:
    """What host2 calls its interface while the others have eth0."""
    rename = "ip link set {0} down; ip link set {0} name {1}; ip link set {1} up"
    lab.run("host2", ["sh", "-ec", rename.format("eth0", "ens3")])
    yield "ens3"
    lab.run("host2", ["sh", "-ec", rename.format("ens3", "eth0")])


@pytest.mark.parametrize(("backend", "engine"), list(ENGINES.values()), ids=list(ENGINES))
def test_every_host_is_met_on_its_own_interface(
    person: Person, other_interface: str, backend: str, engine: str
) -> None:
    found = person.runs(
        engine, "cluster=hostfile", "cluster.hosts=[host[1-3]]", f"backend={backend}"
    )
    assert [each["interface"] for each in found] == ["eth0", other_interface, "eth0"]
    assert {each["sum"] for each in found} == {3.0}


def test_the_head_can_be_named(person: Person) -> None:
    found = person.runs(
        TORCH, "cluster=hostfile", "cluster.hosts=[host[1-3]]", "cluster.head=host3"
    )
    assert hosts(found) == ["host3", "host1", "host2"]


def test_the_first_healthy_hosts_are_taken(person: Person) -> None:
    person.lab.crash("host2")
    found = person.runs(TORCH, "cluster=hostfile", "cluster.hosts=[host[1-4]]", "nodes=2")
    assert hosts(found) == ["host1", "host3"]


def test_too_few_healthy_hosts_are_named_before_anything_starts(person: Person) -> None:
    person.lab.crash("host2")
    (person.cwd / "train.py").write_text("raise SystemExit('started')\n")
    done = person.types(
        *("recipe=script", "script=train.py", "cluster=hostfile", "cluster.hosts=[host[1-2]]"),
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "host2" in done.stderr
    assert "Traceback" not in done.stderr
    assert "started" not in done.stdout + done.stderr


def test_a_user_and_a_port_of_the_hostfile_are_used(person: Person) -> None:
    found = person.runs(TORCH, "cluster=hostfile", "cluster.hosts=[root@host1:22,host2 port=22]")
    assert hosts(found) == ["host1", "host2"]


FAILS = """
import os, time
{engine}
if rank == world - 1:
    raise ValueError("bad sample 17")
time.sleep(600)
"""


@pytest.mark.parametrize(("backend", "engine"), list(ENGINES.values()), ids=list(ENGINES))
def test_a_rank_that_fails_is_named_with_its_host_and_nothing_is_left(
    person: Person, backend: str, engine: str
) -> None:
    (person.cwd / "fails.py").write_text(FAILS.format(engine=_without_end(engine)))
    done = person.types(
        *("recipe=script", "script=fails.py", "run_id=fails", "device=cpu"),
        *("cluster=hostfile", "cluster.hosts=[host1 slots=2,host2]", f"backend={backend}"),
        "supervise.max_restarts=0",
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 5, said
    assert "FIRST FAILURE  rank 2  node 1 (host2)" in said
    assert "bad sample 17" in said
    for host in ("host1", "host2"):
        assert person.lab.processes(host, environ="LAUNCHER_RUN_ID=fails") == []


WAITS = """
import pathlib, time
{engine}
pathlib.Path("up-" + str(rank)).touch()
time.sleep(600)
"""


@pytest.mark.parametrize(("backend", "engine"), list(ENGINES.values()), ids=list(ENGINES))
def test_a_host_that_crashes_is_the_first_failure(
    person: Person, backend: str, engine: str
) -> None:
    (person.cwd / "waits.py").write_text(WAITS.format(engine=_without_end(engine)))
    words = [
        *("recipe=script", "script=waits.py", "run_id=waits", "device=cpu", "code=shared"),
        *("cluster=hostfile", "cluster.hosts=[host1 slots=2,host2]", f"backend={backend}"),
        "supervise.max_restarts=0",
    ]
    launcher = person.lab.start(
        "head", [sys.executable, "-m", "launcher", *words], cwd=person.there
    )
    wait_until("all ranks", lambda: len(list(person.cwd.glob("up-*"))) == 3, WITHIN_S)
    person.lab.crash("host2")
    code = launcher.wait(WITHIN_S)
    said = launcher.output.read_text(errors="replace")
    assert code == 5, said
    assert "FIRST FAILURE  node 1 (host2)" in said
    assert person.lab.processes("host1", environ="LAUNCHER_RUN_ID=waits") == []


def _without_end(engine: str) -> str:
    """The ranks are still together when one of them fails."""
    ends = ("dist.destroy_process_group()", "hvd.shutdown()")
    return "\n".join(line for line in engine.splitlines() if line not in ends)
