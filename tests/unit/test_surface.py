"""What others rely on: names, keys, verbs, and how little an import costs.

A name is approved by being listed here. Removing one breaks scripts or recipes of users: say so in
the changelog.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import launcher
from launcher.cli.verbs import VERBS
from launcher.config import paths
from launcher.config.keys import all_keys

EXPORTED = {
    "launcher.cli": ["entry_point"],
    "launcher.config": [
        *("CodeChoice", "LaunchConfig", "compare", "default_root", "dump", "load"),
        *("load_saved", "plain", "repeatable"),
    ],
    "launcher.errors": [
        *("CheckpointError", "ConfigError", "EngineMissingError", "Interrupted", "LauncherError"),
        *("NotRequeueable", "PreflightError", "SavedForRequeue", "StagingError", "TrainingError"),
        *("UnknownNameError", "nearest", "require"),
    ],
    "launcher.runtime": ["Engine", "RankContext", "Shard", "Vote", "init"],
}

PROMISED_TO_RECIPES = {
    "launcher.runtime": {"init", "Engine"},
    "launcher.checkpoint": {
        *("Checkpointer", "TrainingState", "DataCursor", "GlobalSampler", "SingleProcess", "share"),
        *("list_commits", "verify", "export"),
    },
}

KEYS = [
    *("recipe.name", "recipe.program", "recipe.description"),
    *("script", "module", "args", "code", "nodes", "slots", "device"),
    *("backend.name", "cluster.name", "cluster.port", "cluster.python"),
    *(f"cluster.{name}" for name in ("hostfile", "hosts", "include", "exclude", "head", "spares")),
    *("cluster.min_nodes", "cluster.wait"),
    *(f"cluster.slurm.{name}" for name in ("partition", "account", "qos", "time", "gres")),
    *(f"cluster.slurm.{name}" for name in ("constraint", "exclude", "reservation", "dependency")),
    *(f"cluster.slurm.{name}" for name in ("array", "mem", "cpus_per_task", "requeue", "extra")),
    "cluster.probe",
    *("model.name", "model.source", "model.revision", "model.include", "model.strip"),
    *("model.sha256", "model.options", "model.needs"),
    *("data.name", "data.source", "data.revision", "data.include", "data.sha256"),
    *("data.train", "data.test", "data.text", "data.label", "data.builder", "data.options"),
    *("storage.root", "run_id", "resume", "determinism", "logical_shards"),
    *("train.max_steps", "train.epochs", "train.batch_size", "train.micro_batch_size"),
    *("train.lr", "train.head_lr", "train.weight_decay", "train.warmup_ratio"),
    *("train.max_grad_norm", "train.max_length", "train.seed", "train.precision"),
    *("train.compile", "train.eval_every_steps", "train.log_every_steps"),
    "train.record_samples",
    *("checkpoint.every_steps", "checkpoint.keep"),
    *("supervise.max_restarts", "supervise.grace_s", "supervise.hang_timeout_s"),
    *("supervise.lost_after_s", "supervise.echo"),
    "preflight.min_free_gb",
    *("params", "env"),
]

FIXED = {
    "backend": {"torchrun", "horovod", "mpi"},
    "cluster": {"local", "hostfile", "sim", "slurm"},
}
"""Names that keep working, besides any new ones."""

CHOICES = {
    "data": ("docstrings", "jsonl", "uri"),
    "model": ("bert_base", "bert_tiny", "minilm", "uri"),
    "recipe": ("bert_finetune", "script"),
}

HEAVY = {
    *("torch", "transformers", "datasets", "s3fs", "horovod", "mpi4py", "pyarrow", "pandas"),
    "jinja2",
}

LAUNCHER = Path(launcher.__file__).parent
ROOMS = sorted(
    path.stem
    for path in LAUNCHER.iterdir()
    if path.name in ("errors.py", "units.py") or (path / "__init__.py").is_file()
)


@pytest.mark.parametrize("module", EXPORTED)
def test_exported_names_are_those_approved_here(module: str) -> None:
    assert sorted(importlib.import_module(module).__all__) == sorted(EXPORTED[module])


@pytest.mark.parametrize("module", PROMISED_TO_RECIPES)
def test_what_recipes_import_is_there(module: str) -> None:
    found = importlib.import_module(module)
    assert set(found.__all__) >= PROMISED_TO_RECIPES[module]


@pytest.mark.parametrize("room", ROOMS)
def test_everything_that_a_room_says_it_exports_is_there(room: str) -> None:
    found = importlib.import_module(f"launcher.{room}")
    assert [name for name in getattr(found, "__all__", ()) if not hasattr(found, name)] == []


def test_keys_are_those_approved_here() -> None:
    assert list(all_keys()) == KEYS


def test_choices_are_those_approved_here(tmp_path: Path) -> None:
    found = paths.find(cwd=tmp_path).groups()
    assert {group: found[group] for group in found if group not in FIXED} == CHOICES


@pytest.mark.parametrize("group", FIXED)
def test_fixed_names_are_there(tmp_path: Path, group: str) -> None:
    assert FIXED[group] <= set(paths.find(cwd=tmp_path).groups()[group])


def test_verbs_are_those_approved_here() -> None:
    assert list(VERBS) == [
        *("run", "plan", "doctor", "stage", "status", "logs", "why", "stop", "resume"),
        "checkpoints",
    ]


def loaded_by(code: str, cwd: Path) -> set[str]:
    """Return the top-level modules that a fresh interpreter has after running `code`."""
    tell = "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{tell}"],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


@pytest.mark.process
def test_the_command_line_imports_nothing_heavy(tmp_path: Path) -> None:
    assert (
        loaded_by("import launcher.cli", tmp_path) & (HEAVY | {"hydra", "rich", "fsspec"}) == set()
    )


@pytest.mark.process
@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["plan", "recipe=bert_finetune", "nodes=4", "device=cpu"],
        ["status", "nothing-there"],
        ["checkpoints", "ls", "nothing-there"],
    ],
    ids=lambda words: words[0],
)
def test_no_verb_that_trains_nothing_loads_anything_heavy(tmp_path: Path, words: list[str]) -> None:
    code = f"from launcher.cli.main import main\nmain({words!r})"
    assert loaded_by(code, tmp_path) & HEAVY == set()
