"""One run, four engines: killed in the middle of an epoch, it goes on under the next one."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from launcher import checkpoint
from tests.needs import need

pytestmark = [pytest.mark.e2e, pytest.mark.extras]

ROWS, BATCH, EVERY = 203, 16, 3
STEPS = -(-ROWS // BATCH)
HOPS = (("torchrun", 2), ("horovod", 4), ("mpi", 3), ("torchrun", 1))

AUDITED = '''
"""The recipe; it also writes down its state at every save and after every restore."""
import hashlib, json, os, time
import torch
from launcher.checkpoint.state import collect
from recipes.bert_finetune import train

class Audited(train.Trainer):
    def restore(self):
        super().restore()
        self.note("loaded")

    def save(self):
        self.note("saved")
        super().save()

    def step(self):
        super().step()
        while self.state.step == int(os.environ.get("HOLD_AT", "0")):
            time.sleep(0.1)  # until somebody kills it

    def note(self, what):
        seen = collect(self.state)
        found = dict(seen.agreed())
        for name, tensor in seen.tensors.items():
            raw = tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            found[name] = f"{tensor.dtype}{list(tensor.shape)} {hashlib.sha256(raw).hexdigest()}"
        folder = self.ctx.run_dir / "audit" / f"{self.state.step}"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{self.ctx.attempt}-{what}-{self.ctx.rank}.json"
        (folder / name).write_text(json.dumps(found))

train.Trainer = Audited
train.main()
'''

RECIPE = f"""
# @package _global_
defaults:
  - override /model: bert_tiny
  - override /data: jsonl
recipe:
  name: audited
  program: audited.py
data:
  train: train.jsonl
  test: test.jsonl
train:
  batch_size: {BATCH}
  lr: 1e-3
  record_samples: true
checkpoint:
  every_steps: {EVERY}
"""


@pytest.fixture
def command(person: Any) -> list[str]:
    for backend, _ in HOPS:
        need(backend)
    choice = random.Random(3)
    for name, count in (("train", ROWS), ("test", 20)):
        (person.cwd / f"{name}.jsonl").write_text("".join(row(choice) for _ in range(count)))
    (person.cwd / "audited.py").write_text(AUDITED)
    (person.cwd / "conf" / "recipe").mkdir(parents=True)
    (person.cwd / "conf" / "recipe" / "audited.yaml").write_text(RECIPE)
    return ["recipe=audited"]


def row(choice: random.Random) -> str:
    """Texts of unequal length, so that what is padded depends on who computes with whom."""
    label = choice.choice(("warm", "cold"))
    near = ("sun", "fire", "july") if label == "warm" else ("snow", "ice", "frost")
    words = choice.choices(near, k=choice.randint(1, 20))
    return json.dumps({"text": " ".join(words), "label": label}) + "\n"


@pytest.mark.parametrize("determinism", ["same_ranks", "logical_shards"])
def test_a_run_goes_on_under_other_engines_with_the_very_state_that_was_saved(
    person: Any, helpers: Any, command: list[str], determinism: str
) -> None:
    """Every sample of the epoch is consumed once; in logical shards no loss differs by a bit."""
    command = [*command, f"determinism={determinism}"]
    for attempt, (backend, ranks) in enumerate(HOPS[:-1], start=1):
        kill_in_the_middle(
            person, helpers, attempt, [*command, f"backend={backend}", f"slots={ranks}"]
        )
    backend, ranks = HOPS[-1]
    person.env["HOLD_AT"] = "0"
    done = person.types(*command, "run_id=moved", f"backend={backend}", f"slots={ranks}")
    assert done.returncode == 0, done.stdout + done.stderr

    assert checkpoint.verify(person.run_folder("moved") / "checkpoints") == []
    for hop, ((_, before), (_, after)) in enumerate(pairwise(HOPS), start=1):
        saved = [audit(person, EVERY * hop, f"{hop}-saved-{rank}") for rank in range(before)]
        loaded = [audit(person, EVERY * hop, f"{hop + 1}-loaded-{rank}") for rank in range(after)]
        assert len(saved[0]) > 50
        assert all(each == saved[0] for each in (*saved, *loaded))

    assert helpers.consumed(person.run_folder("moved")) == {0: Counter(range(ROWS))}
    assert list(person.losses("moved")) == list(range(1, STEPS + 1))
    if determinism == "logical_shards":
        compare_with_a_calm_run(person, command)


def kill_in_the_middle(person: Any, helpers: Any, attempt: int, words: list[str]) -> None:
    """Kill -9 everything two steps after the commit of this attempt."""
    committed = EVERY * attempt
    person.env["HOLD_AT"] = str(committed + 2)
    run = person.starts(*words, "run_id=moved")
    helpers.wait_until_step(person, "moved", committed + 2, attempt=attempt)
    helpers.wait_until(lambda: committed in steps(person), what=f"commit {committed}")
    helpers.kill_all(run, "moved")


def compare_with_a_calm_run(person: Any, command: list[str]) -> None:
    """Two ranks that nobody disturbs have the same losses, the same state and the same result."""
    calm = person.types(*command, "run_id=calm", "slots=2")
    assert calm.returncode == 0, calm.stdout + calm.stderr
    assert person.losses("moved") == person.losses("calm")
    assert audit(person, STEPS, "1-saved-0", "calm") == audit(person, STEPS, "4-saved-0")
    for name in ("accuracy", "macro_f1", "loss"):
        assert person.result("moved")["result"][name] == person.result("calm")["result"][name]


def steps(person: Any) -> set[int]:
    folder = person.run_folder("moved") / "checkpoints"
    return {info.step for info in checkpoint.list_commits(folder)} if folder.is_dir() else set()


def audit(person: Any, step: int, name: str, run_id: str = "moved") -> dict[str, str]:
    path = Path(person.run_folder(run_id), "audit", str(step), f"{name}.json")
    found: dict[str, str] = json.loads(path.read_text())
    return found
