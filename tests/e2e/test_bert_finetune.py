"""The recipe as a person runs it, with a tiny model: killed, resumed, moved, exported."""

from __future__ import annotations

import json
import random
import shlex
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from launcher.checkpoint import list_commits

pytestmark = pytest.mark.e2e

TRAIN_ROWS, TEST_ROWS, BATCH, EPOCHS = 203, 40, 16, 3
STEPS = EPOCHS * -(-TRAIN_ROWS // BATCH)
WORDS = {
    "animals": ("cat", "dog", "horse", "cow", "fish", "bird", "wolf", "fox", "bear", "mouse"),
    "colours": (
        "red",
        "green",
        "blue",
        "yellow",
        "white",
        "black",
        "brown",
        "pink",
        "grey",
        "violet",
    ),
    "numbers": ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
}


def write_rows(path: Path, count: int, seed: int) -> None:
    """Texts of very unequal length, so that padding differs between ranks and steps."""
    choice = random.Random(seed)
    lines = []
    for _ in range(count):
        label = choice.choice(sorted(WORDS))
        text = " ".join(choice.choices(WORDS[label], k=choice.randint(1, 24)))
        lines.append(json.dumps({"text": text, "label": label}) + "\n")
    path.write_text("".join(lines))


@pytest.fixture
def command(person: Any) -> list[str]:
    """A recipe run over a small data set with a short last batch in every epoch."""
    write_rows(person.cwd / "train.jsonl", TRAIN_ROWS, seed=1)
    write_rows(person.cwd / "test.jsonl", TEST_ROWS, seed=2)
    return [
        "recipe=bert_finetune",
        "model=bert_tiny",
        "data=jsonl",
        "data.train=train.jsonl",
        "data.test=test.jsonl",
        f"train.epochs={EPOCHS}",
        f"train.batch_size={BATCH}",
        "train.micro_batch_size=3",
        "train.lr=1e-3",
        "train.record_samples=true",
        "checkpoint.every_steps=4",
    ]


def kill_at_random(person: Any, helpers: Any, run: Any, run_id: str) -> None:
    """Kill -9 every process of a run, the launcher first, somewhere after its first checkpoint."""
    checkpoints = person.run_folder(run_id) / "checkpoints"
    helpers.wait_until_step(person, run_id, 8)
    helpers.wait_until(lambda: list_commits(checkpoints), what="a checkpoint")
    time.sleep(random.random() * 0.5)
    helpers.kill_all(run, run_id)


def went_on_after_step(person: Any, run_id: str) -> int:
    """Return the step of the checkpoint that the second attempt started from."""
    metrics = person.run_folder(run_id) / "attempts" / "0002" / "metrics.jsonl"
    return int(json.loads(metrics.read_text().splitlines()[0])["step"]) - 1


def test_a_run_killed_at_a_random_moment_goes_on_with_bitwise_the_same_losses(
    person: Any, helpers: Any, command: list[str]
) -> None:
    """Kill -9 and the same command again: step for step the history of an undisturbed run."""
    undisturbed = person.types(*command, "nodes=2", "run_id=calm")
    assert undisturbed.returncode == 0, undisturbed.stdout + undisturbed.stderr

    run = person.starts(*command, "nodes=2", "run_id=killed")
    kill_at_random(person, helpers, run, "killed")
    resumed = person.types(*command, "nodes=2", "run_id=killed")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr

    assert went_on_after_step(person, "killed") > 0
    assert list(person.losses("calm")) == list(range(1, STEPS + 1))
    assert person.losses("killed") == person.losses("calm")
    calm, killed = (person.result(each)["result"] for each in ("calm", "killed"))
    for name in ("accuracy", "macro_f1", "loss"):
        assert killed[name] == calm[name]
    assert calm["accuracy"] > 0.6


def test_another_number_of_ranks_consumes_every_sample_of_an_epoch_exactly_once(
    person: Any, helpers: Any, command: list[str]
) -> None:
    """Killed with 2 ranks, resumed with 3, which divide neither the batch nor the data."""
    run = person.starts(*command, "nodes=2", "run_id=moved")
    kill_at_random(person, helpers, run, "moved")
    resumed = person.types(*command, "nodes=3", "run_id=moved")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr

    assert went_on_after_step(person, "moved") > 0
    epochs = helpers.consumed(person.run_folder("moved"))
    assert set(epochs) == set(range(EPOCHS))
    for counts in epochs.values():
        assert counts == Counter(range(TRAIN_ROWS))
    assert sorted(person.losses("moved")) == list(range(1, STEPS + 1))


def test_the_exported_model_is_one_that_from_pretrained_reads(
    person: Any, command: list[str]
) -> None:
    """What was trained can be used without the launcher, by the command that the run prints."""
    root = "storage.root=my runs"
    done = person.types(*command, "nodes=1", "run_id=one", "train.max_steps=4", root)
    assert done.returncode == 0, done.stdout + done.stderr
    (offered,) = (line for line in done.stdout.splitlines() if line.startswith("export "))
    export = shlex.split(offered)[1:]
    assert export[-2:] == ["--to", "./model"]
    exported = subprocess.run(
        export, cwd=person.cwd, env=person.env, capture_output=True, text=True, check=False
    )
    assert exported.returncode == 0, exported.stdout + exported.stderr

    config = json.loads((person.cwd / "model" / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert set(config["id2label"].values()) == set(WORDS)
    assert (person.cwd / "model" / "model.safetensors").is_file()
