"""What listens while a run trains on this machine, and where its secret is."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from launcher.specs.secrets import RUN_SECRET
from tests.listening import documented, observed
from tests.needs import need

pytestmark = pytest.mark.e2e

TRAINS = f"""
import os
from pathlib import Path
from launcher import runtime
Path(f"secret{{os.environ['LAUNCHER_NODE_RANK']}}").write_text(os.environ["{RUN_SECRET}"])
ctx = runtime.init()
step = 0
while not ctx.should_stop():
    step += 1
    ctx.engine.barrier(60)
    ctx.log_step(step=step, total_steps=0, epoch=0, loss=1, lr=1, samples=1, step_time_s=1)
ctx.leave_saved(step)
"""

UNCHANGED = """
import time, torch, torch.distributed as dist
dist.init_process_group("gloo")
dist.all_reduce(torch.ones(1))
open(f"ready{dist.get_rank()}", "w").close()
time.sleep(600)
"""
OTHERS = ("mpi", "horovod", "horovod_mpi")
EXTRAS = [pytest.param(name, marks=pytest.mark.extras) for name in OTHERS]


def starts(person: Any, text: str, backend: str, run_id: str, *more: str) -> Any:
    """Each test has its own run id, because the port of the rendezvous depends on it."""
    (person.cwd / "train.py").write_text(text)
    words = (
        "recipe=script",
        "script=train.py",
        f"backend={backend}",
        "nodes=2",
        f"run_id={run_id}",
    )
    return person.starts(*words, *more)


def stop(run: Any) -> None:
    run.send_signal(signal.SIGTERM)
    output, _ = run.communicate(timeout=240)
    assert run.returncode == 75, output


@pytest.mark.parametrize("more", [(), ("determinism=logical_shards", "logical_shards=4")])
@pytest.mark.parametrize("backend", ["torchrun", *EXTRAS])
def test_only_what_the_documentation_lists_listens(
    person: Any, helpers: Any, backend: str, more: tuple[str, ...]
) -> None:
    run_id = f"ports-{backend}-{len(more)}"
    run = starts(person, TRAINS, need(backend), run_id, *more)
    helpers.wait_until_step(person, run_id, 3)
    found = observed(person.run_folder(run_id), helpers.processes_of(run_id), ["127.0.0.1"])
    rows = documented(backend, several_nodes=False)
    # The address of a node is the one at which mpirun serves its ranks.
    rows = {(process, where.replace("127.0.0.1", "address of its node")) for process, where in rows}
    assert found <= rows
    assert "all addresses" not in {where for process, where in found if process != "mpirun"}
    # Ranks of Horovod have closed theirs.
    assert {process for process, _ in rows - found} <= {"rank"}
    stop(run)


def test_an_unchanged_torch_script_listens_only_on_loopback(person: Any, helpers: Any) -> None:
    run = starts(person, UNCHANGED, "torchrun", "unchanged")
    helpers.wait_until(
        lambda: all((person.cwd / f"ready{rank}").exists() for rank in (0, 1)),
        what="the process group",
    )
    found = observed(
        person.run_folder("unchanged"), helpers.processes_of("unchanged"), ["127.0.0.1"]
    )
    assert found == documented("torchrun", several_nodes=False)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate(timeout=240)
    helpers.wait_until(lambda: not helpers.processes_of("unchanged"), what="all ranks to end")


def test_the_secret_of_an_attempt_is_known_to_its_ranks_and_stored_nowhere(
    person: Any, helpers: Any
) -> None:
    run = starts(person, TRAINS, "torchrun", "secret")
    helpers.wait_until_step(person, "secret", 3)
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in helpers.processes_of("secret")]
    stop(run)
    first, second = ((person.cwd / f"secret{node}").read_text() for node in (0, 1))
    assert first == second
    assert len(bytes.fromhex(first)) == 32
    assert all(first.encode() not in command for command in commands)
    stored = [path for path in (person.cwd / "outputs").rglob("*") if path.is_file()]
    assert len(stored) > 10
    assert [path for path in stored if first.encode() in path.read_bytes()] == []
    again = person.starts("resume", "secret", "resume=never")
    helpers.wait_until_step(person, "secret", 3, attempt=2)
    stop(again)
    assert (person.cwd / "secret0").read_text() != first
