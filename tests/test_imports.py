"""The import contracts of pyproject.toml catch what they promise to catch."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[1]
LINT_IMPORTS = Path(sysconfig.get_path("scripts")) / "lint-imports"
LAYERS = "One way through"
HYDRA = "Only config and the command line import Hydra"
FSSPEC = "Only storage imports fsspec"
JINJA2 = "Only the report imports Jinja2"
PURE = "Planning is pure"
SOURCES = "Sources of nodes reach no node"
RUNTIME = "Runtime imports only specs, errors and the table of backends"
CHECKPOINT = "Checkpoint imports only specs, errors, disk and units"
RECIPES = "Recipes import only runtime, checkpoint and errors"
NO_RECIPE = "The launcher never imports a recipe"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Copy all that the contracts read."""
    skip = shutil.ignore_patterns("__pycache__")
    for folder in ("launcher", "recipes"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=skip)
    (tmp_path / "tests").mkdir()
    for file in ("pyproject.toml", "tests/import_contracts.py"):
        shutil.copyfile(ROOT / file, tmp_path / file)
    return tmp_path


def check(tree: Path) -> tuple[set[str], str]:
    """Return the broken contracts, and all that was printed."""
    done = subprocess.run(
        [LINT_IMPORTS, "--no-cache"], cwd=tree, capture_output=True, text=True, check=False
    )
    text = done.stdout + done.stderr
    broken = {
        line.removesuffix(" BROKEN") for line in text.splitlines() if line.endswith(" BROKEN")
    }
    assert (done.returncode == 0) == (not broken), text
    return broken, text


def test_the_copy_keeps_all_contracts(tree: Path) -> None:
    assert check(tree)[0] == set()


@pytest.mark.parametrize(
    ("room", "line", "broken"),
    [
        ("launcher/slurm", "import omegaconf", {HYDRA}),
        ("launcher/supervise", "from hydra import compose", {HYDRA}),
        ("launcher/staging", "import fsspec", {FSSPEC}),
        ("launcher/cli", "import s3fs", {FSSPEC}),
        ("launcher/supervise", "from jinja2 import Environment", {JINJA2}),
        ("launcher/runtime", "from launcher import storage", {RUNTIME}),
        ("launcher/checkpoint", "from launcher.storage import uri", {CHECKPOINT}),
        ("launcher/checkpoint", "import launcher.runtime", {CHECKPOINT}),
        ("launcher/plan", "import os", {PURE}),
        ("launcher/engines", "from launcher.engines import install", {PURE}),
        ("launcher/nodes", "from launcher import transports", {SOURCES}),
        ("launcher/nodes", "from launcher.nodes.probe import ask", {SOURCES}),
        ("launcher/specs", "from launcher import plan", {LAYERS}),
        ("launcher/storage", "import recipes.bert_finetune", {NO_RECIPE}),
        ("recipes/bert_finetune", "import launcher.launch", {RECIPES}),
        ("recipes/bert_finetune", "from launcher.specs import Plan", {RECIPES}),
    ],
)
def test_a_forbidden_import_breaks_its_contract(
    tree: Path, room: str, line: str, broken: set[str]
) -> None:
    (tree / room / "planted.py").write_text(f"def late() -> None:\n    {line}\n")
    found, text = check(tree)
    assert found == broken, text
    planted = f"{room.replace('/', '.')}.planted"
    assert planted in text


@pytest.mark.parametrize("line", ["import subprocess", "import socket", "import torch"])
def test_an_engine_that_does_more_than_name_its_commands_is_found(tree: Path, line: str) -> None:
    (tree / "launcher/engines/planted.py").write_text(line)
    assert check(tree)[0] == {PURE}


def test_a_new_room_is_covered_before_anyone_lists_it(tree: Path) -> None:
    room = tree / "launcher" / "new_room"
    room.mkdir()
    (room / "__init__.py").write_text("import fsspec\nimport omegaconf\nimport recipes\n")
    assert check(tree)[0] == {LAYERS, HYDRA, FSSPEC, NO_RECIPE}


def test_a_contract_that_names_a_room_that_is_gone_fails(tree: Path) -> None:
    config = tree / "pyproject.toml"
    text = config.read_text().replace('importers = ["launcher.storage"]', 'importers = ["gone"]')
    config.write_text(text)
    done = subprocess.run(
        [LINT_IMPORTS, "--no-cache"], cwd=tree, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "modules that do not exist: gone" in done.stdout + done.stderr
