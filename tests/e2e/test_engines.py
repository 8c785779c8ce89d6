"""The same commands under every engine: the recipe, unchanged scripts, and how a run can end."""

from __future__ import annotations

import json
import os
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.needs import need

pytestmark = [pytest.mark.e2e, pytest.mark.extras]

OTHERS = ("mpi", "horovod", "horovod_mpi")

TRAINS = """
import os
from launcher import runtime
ctx = runtime.init()
step = 0
while not ctx.should_stop():
    step += 1
    ctx.engine.barrier(60)
    if step == 5 and os.environ.get("BREAK") == str(ctx.rank):
        raise ValueError("bad sample 17")
    ctx.log_step(step=step, total_steps=0, epoch=0, loss=1, lr=1, samples=1, step_time_s=1)
ctx.leave_saved(step)
"""

HOROVOD = """
import horovod.torch as hvd, torch
hvd.init()
total = hvd.allreduce(torch.tensor([float(hvd.rank())]), op=hvd.Sum)
print("rank", hvd.rank(), "of", hvd.size(), "local", hvd.local_rank(), "sum", int(total))
"""

MPI4PY = """
from mpi4py import MPI
world = MPI.COMM_WORLD
print("rank", world.rank, "of", world.size, "sum", world.allreduce(world.rank))
"""

TORCH = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.ones(1) * dist.get_rank()
dist.all_reduce(total)
print("rank", dist.get_rank(), "of", dist.get_world_size(), "sum", int(total))
dist.destroy_process_group()
"""


@pytest.fixture(params=OTHERS)
def backend(request: pytest.FixtureRequest) -> str:
    return need(request.param)


def write(person: Any, text: str) -> str:
    (person.cwd / "train.py").write_text(text)
    return "script=train.py"


def words(person: Any, text: str, backend: str, *more: str) -> list[str]:
    script = write(person, text)
    return ["recipe=script", script, f"backend={backend}", "nodes=2", "run_id=r", *more]


@pytest.mark.parametrize(
    ("backend", "text"),
    [("mpi", MPI4PY), ("mpi", TORCH), ("horovod", HOROVOD), ("horovod_mpi", HOROVOD)],
)
def test_an_unchanged_script_runs_with_a_log_per_rank(person: Any, backend: str, text: str) -> None:
    done = person.types(*words(person, text, need(backend)))
    assert done.returncode == 0, done.stdout + done.stderr
    logs = person.run_folder("r") / "attempts" / "0001" / "logs"
    assert "rank 0 of 2" in (logs / "node00-rank0000.log").read_text()
    assert "rank 1 of 2" in (logs / "node01-rank0001.log").read_text()
    assert "sum 1" in (logs / "node01-rank0001.log").read_text()
    assert person.result("r")["state"] == "done"


def test_a_failing_rank_is_named_first_whatever_the_engine_says_itself(
    person: Any, helpers: Any, backend: str
) -> None:
    person.env["BREAK"] = "1"
    done = person.types(*words(person, TRAINS, backend, "supervise.max_restarts=0"))
    assert done.returncode == 5, done.stdout + done.stderr
    failure = person.result("r")["first_failure"]
    assert failure["rank"] == 1
    assert "ValueError: bad sample 17" in failure["sentence"]
    assert helpers.processes_of("r") == []


def test_a_rank_killed_from_outside_is_named_and_nobody_stays(
    person: Any, helpers: Any, backend: str
) -> None:
    run = person.starts(*words(person, TRAINS, backend, "supervise.max_restarts=0"))
    helpers.wait_until_step(person, "r", 3)
    os.kill(pid_of(person, 1), signal.SIGKILL)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 5, output
    assert person.result("r")["first_failure"]["rank"] == 1
    assert "SIGKILL" in output
    assert helpers.processes_of("r") == []


def test_sigterm_lets_all_ranks_save_and_leave(person: Any, helpers: Any, backend: str) -> None:
    run = person.starts(*words(person, TRAINS, backend))
    helpers.wait_until_step(person, "r", 3)
    os.kill(run.pid, signal.SIGTERM)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 75, output
    assert {record(person, rank)["state"] for rank in (0, 1)} == {"saved"}
    assert helpers.processes_of("r") == []


def test_kill_9_of_the_launcher_leaves_no_rank_behind(
    person: Any, helpers: Any, backend: str
) -> None:
    run = person.starts(*words(person, TRAINS, backend))
    helpers.wait_until_step(person, "r", 3)
    assert helpers.processes_of("r")
    run.kill()
    run.communicate(timeout=60)
    helpers.wait_until(lambda: not helpers.processes_of("r"), what="all ranks to end")


def test_ranks_know_their_node(person: Any, backend: str) -> None:
    show = "import os; print(os.environ['LAUNCHER_NODE_RANK'], os.environ['LAUNCHER_NODE_NAME'])"
    done = person.types(*words(person, show, backend))
    assert done.returncode == 0, done.stdout + done.stderr
    log = person.run_folder("r") / "attempts" / "0001" / "logs" / "node01-rank0001.log"
    assert log.read_text().split() == ["1", "local1"]


@dataclass
class Histories:
    """Runs of the recipe, each done once: how it went, step by step, and what came out."""

    person: Any
    command: list[str]
    done: dict[str, tuple[dict[int, float], dict[str, float]]] = field(default_factory=dict)

    def of(self, backend: str, ranks: int, *more: str) -> tuple[dict[int, float], dict[str, float]]:
        name = "-".join((backend, str(ranks), *more)).replace("=", "-")
        if name not in self.done:
            words = (f"backend={need(backend)}", f"slots={ranks}", f"run_id={name}", *more)
            run = self.person.types(*self.command, *words)
            assert run.returncode == 0, run.stdout + run.stderr
            result = self.person.result(name)["result"]
            scores = {each: result[each] for each in ("accuracy", "macro_f1", "loss", "steps")}
            self.done[name] = self.person.losses(name), scores
        return self.done[name]


@pytest.fixture(scope="module")
def histories(lasting_person: Any) -> Histories:
    return Histories(lasting_person, recipe(lasting_person))


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("backend", OTHERS)
def test_every_engine_takes_the_same_fifty_steps(
    histories: Histories, backend: str, ranks: int
) -> None:
    found, result = histories.of(backend, ranks, "train.max_steps=50")
    expected, wanted = histories.of("torchrun", ranks, "train.max_steps=50")
    assert list(found) == list(expected) == list(range(1, 51))
    assert max(abs(expected[step] - found[step]) for step in expected) < 1e-5
    assert result == pytest.approx(wanted, abs=1e-5)
    assert found[50] < found[1] / 2


@pytest.mark.parametrize(
    ("backend", "ranks"),
    [("torchrun", 2), ("mpi", 3), ("horovod", 4), ("horovod_mpi", 3), ("torchrun", 5)],
)
def test_logical_shards_have_the_same_bits_at_any_number_of_ranks_and_under_any_engine(
    histories: Histories, backend: str, ranks: int
) -> None:
    """Losses of all steps, with dropout and with batches of fewer samples than shards."""
    more = ("determinism=logical_shards", "train.max_steps=12")
    assert histories.of(backend, ranks, *more) == histories.of("torchrun", 1, *more)


def recipe(person: Any) -> list[str]:
    choice = random.Random(1)
    for name, count in (("train", 100), ("test", 20)):
        lines = [row(choice) for _ in range(count)]
        Path(person.cwd / f"{name}.jsonl").write_text("".join(lines))
    return [
        "recipe=bert_finetune",
        "model=bert_tiny",
        "data=jsonl",
        "data.train=train.jsonl",
        "data.test=test.jsonl",
        "train.batch_size=16",
        "train.micro_batch_size=3",
        "train.lr=1e-3",
    ]


def row(choice: random.Random) -> str:
    label = choice.choice(("warm", "cold"))
    near = ("sun", "fire", "july") if label == "warm" else ("snow", "ice", "frost")
    return json.dumps({"text": " ".join(choice.choices(near, k=9)), "label": label}) + "\n"


def record(person: Any, rank: int) -> dict[str, Any]:
    path = person.run_folder("r") / "attempts" / "0001" / "ranks" / f"{rank:04d}.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def pid_of(person: Any, rank: int) -> int:
    return int(record(person, rank)["pid"])
