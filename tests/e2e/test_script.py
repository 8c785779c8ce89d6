"""`recipe=script`: an unchanged program written for torchrun."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

SCRIPT = """
import os, sys, torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.ones(1) * dist.get_rank()
dist.all_reduce(total)
print("args", sys.argv[1:], "rank", dist.get_rank(), "of", dist.get_world_size(), "sum", int(total))
if os.environ.get("BREAK") == os.environ["RANK"]:
    raise ValueError("bad sample 17")
dist.barrier()
dist.destroy_process_group()
"""

SLOW = """
import time
from launcher import runtime
ctx = runtime.init()
for step in range(1, 2000):
    numbers = dict(epoch=0.0, loss=1.0, lr=0.1, samples=1, step_time_s=0.05)
    ctx.log_step(step=step, total_steps=2000, **numbers)
    time.sleep(0.05)
    if ctx.should_stop():
        ctx.leave_saved(step)
"""


def write(person: Any, text: str, name: str = "train me.py") -> Path:
    path: Path = person.cwd / name
    path.write_text(text)
    return path


def test_an_unchanged_torchrun_script_runs_on_two_nodes_with_a_log_per_rank(person: Any) -> None:
    write(person, SCRIPT)
    done = person.types(
        "recipe=script", "script=train me.py", "args=[--x,1e-4,a b]", "nodes=2", "run_id=s"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    logs = person.run_folder("s") / "attempts" / "0001" / "logs"
    assert (
        "args ['--x', '1e-4', 'a b'] rank 0 of 2 sum 1"
        in (logs / "node00-rank0000.log").read_text()
    )
    assert "rank 1 of 2 sum 1" in (logs / "node01-rank0001.log").read_text()
    assert person.result("s")["state"] == "done"


def test_a_failing_rank_is_named_with_its_traceback_and_the_others_are_folded(person: Any) -> None:
    write(person, SCRIPT)
    person.env["BREAK"] = "1"
    done = person.types("recipe=script", "script=train me.py", "nodes=2", "run_id=broken")
    said = done.stdout + done.stderr
    assert done.returncode == 5, said
    assert "ValueError: bad sample 17" in said
    assert "rank 1" in said
    why = person.types("why", "broken")
    assert why.returncode == 0
    assert "ValueError: bad sample 17" in why.stdout
    assert len(why.stdout.splitlines()) <= 45


def test_slots_put_several_ranks_on_one_node(person: Any) -> None:
    write(person, SCRIPT)
    done = person.types("recipe=script", "script=train me.py", "slots=2", "run_id=s")
    assert done.returncode == 0, done.stdout + done.stderr
    log = person.run_folder("s") / "attempts" / "0001" / "logs" / "node00-rank0001.log"
    assert "rank 1 of 2" in log.read_text()


def test_ctrl_c_once_saves_and_leaves_with_130_and_no_process_stays(
    person: Any, helpers: Any
) -> None:
    write(person, SLOW)
    process = person.starts("recipe=script", "script=train me.py", "nodes=2", "run_id=slow")
    helpers.wait_until_step(person, "slow", 3)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 130, output
    assert person.result("slow")["state"] == "stopped"
    assert helpers.processes_of("slow") == []


def test_stop_from_elsewhere_ends_the_run(person: Any, helpers: Any) -> None:
    write(person, SLOW)
    process = person.starts("recipe=script", "script=train me.py", "nodes=2", "run_id=slow")
    helpers.wait_until_step(person, "slow", 3)
    assert person.types("stop", "slow").returncode == 0
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 130, output
    assert helpers.processes_of("slow") == []


def test_sigterm_to_the_launcher_is_a_preemption_and_ends_with_75(
    person: Any, helpers: Any
) -> None:
    write(person, SLOW)
    process = person.starts("recipe=script", "script=train me.py", "nodes=2", "run_id=slow")
    helpers.wait_until_step(person, "slow", 3)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 75, output


def test_kill_9_of_the_launcher_leaves_no_rank_behind(person: Any, helpers: Any) -> None:
    write(person, SLOW)
    process = person.starts("recipe=script", "script=train me.py", "nodes=2", "run_id=slow")
    helpers.wait_until_step(person, "slow", 3)
    assert helpers.processes_of("slow")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=240)
    helpers.wait_until(lambda: not helpers.processes_of("slow"), what="all ranks to end")


def test_the_same_command_again_leaves_a_finished_run_as_it_is(person: Any) -> None:
    write(person, "print('hello')\n")
    command = ("recipe=script", "script=train me.py", "run_id=once")
    assert person.types(*command).returncode == 0
    before = person.result("once")
    again = person.types(*command)
    assert again.returncode == 0
    assert "already done" in again.stdout
    assert person.result("once") == before
    assert person.types("resume", "once").stdout.count("already done") == 1
    assert person.types(*command, "resume=never").returncode == 0
    assert person.result("once")["attempts"] == 2


def test_a_finished_run_goes_on_when_it_is_made_longer(person: Any) -> None:
    write(person, "print('hello')\n")
    command = ("recipe=script", "script=train me.py", "run_id=once")
    assert person.types(*command, "train.epochs=1").returncode == 0
    again = person.types("resume", "once", "train.epochs=3")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "train.epochs from 1 to 3" in again.stdout
    assert person.result("once")["attempts"] == 2
    assert "already done" in person.types("resume", "once").stdout
    shorter = person.types(*command, "train.epochs=1")
    assert shorter.returncode == 2
    assert "train.epochs: 3 then, 1 now" in shorter.stderr
