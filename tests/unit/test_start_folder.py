"""`python -m launcher` in a folder whose files have the names of modules that we import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import launcher

pytestmark = pytest.mark.process

CHECKOUT = Path(launcher.__file__).parents[1]
OF_THE_INTERPRETER = (
    "importlib", "warnings", "contextlib", "collections", "keyword", "operator", "reprlib",
    "functools", "types",
)  # fmt: skip
"""Imported for every `-m`, before our package: an exception in one of them ends any `python -m`."""
PACKAGES = (
    "hydra", "omegaconf", "antlr4", "yaml", "packaging", "rich", "jinja2", "numpy", "torch",
    "fsspec", "datasets", "transformers", "huggingface_hub", "xxhash", "recipes", "conf",
)  # fmt: skip


def trap(folder: Path, *without: str) -> Path:
    """Fill a folder with every module name that exists; to import one is an error."""
    folder.mkdir()
    for name in sorted(set(sys.stdlib_module_names) - {"__main__", *without}):
        (folder / f"{name}.py").write_text("raise RuntimeError(f'imported the user: {__name__}')\n")
    for name in PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise RuntimeError(f'the user: {__name__}')\n")
    return folder


def run(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**inherited, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "launcher", "--help"),
        ("-mlauncher", "plan", "recipe=script", "script=tools/train.py", "nodes=2"),
        ("-um", "launcher", "plan", "recipe=bert_finetune", "model=bert_tiny"),
        ("-m", "launcher.engines", "--help"),
        ("-m", "launcher.runtime.agent", "--rdzv-endpoint=127.0.0.1:0", "tools/train.py"),
        ("-m", "launcher.runtime", "--", "tools/train.py"),
    ],
    ids=" ".join,
)
def test_modules_of_the_current_folder_are_not_ours(tmp_path: Path, words: tuple[str, ...]) -> None:
    folder = trap(tmp_path / "here", *OF_THE_INTERPRETER)
    (folder / "tools").mkdir()
    (folder / "tools" / "train.py").write_text("import random, logging, torch, yaml\n")
    done = run(folder, *words)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", OF_THE_INTERPRETER)
def test_we_start_beside_every_file_beside_which_another_module_starts(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / f"{name}.py").write_text("mine = True\n")
    (tmp_path / "another.py").touch()
    ours = run(tmp_path, "-m", "launcher", "plan", "recipe=script", "script=another.py")
    assert (ours.returncode == 0) == (run(tmp_path, "-m", "another").returncode == 0), ours.stderr


def test_a_program_imports_the_file_that_we_do_not(tmp_path: Path) -> None:
    (tmp_path / "warnings.py").write_text("mine = True\n")
    (tmp_path / "show.py").write_text("import warnings; print(warnings.mine)\n")
    done = run(tmp_path, "-m", "launcher.runtime", "--", "show.py")
    assert done.stdout == "True\n", done.stderr


def test_the_console_script_runs_beside_every_module_name(tmp_path: Path) -> None:
    folder = trap(tmp_path / "here")
    script = tmp_path / "bin" / "launcher"
    script.parent.mkdir()
    script.write_text("from launcher.cli import entry_point\nentry_point()\n")
    done = run(folder, str(script), "--help")
    assert done.returncode == 0, done.stderr


def test_a_checkout_that_is_not_installed_is_found_in_the_current_folder(tmp_path: Path) -> None:
    for name in ("launcher", "conf", "recipes"):
        shutil.copytree(CHECKOUT / name, tmp_path / name)
    main = tmp_path / "launcher" / "cli" / "main.py"
    main.write_text(main.read_text() + "\nprint('of the checkout')\n")
    done = run(tmp_path, "-m", "launcher", "--version")
    assert done.stdout.startswith("of the checkout\n"), done.stderr


def test_a_program_that_imports_us_keeps_its_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("import launcher, sibling\n")
    (tmp_path / "mine" / "__main__.py").write_text("import sibling; print(sibling.__file__)\n")
    (tmp_path / "sibling.py").touch()
    done = run(tmp_path, "-m", "mine")
    assert done.stdout == f"{tmp_path / 'sibling.py'}\n", done.stderr


@pytest.mark.parametrize("safe", [("-P",), ()], ids=["-P", "PYTHONSAFEPATH"])
def test_without_the_current_folder_no_other_one_is_removed(
    tmp_path: Path, safe: tuple[str, ...]
) -> None:
    env = {"PYTHONPATH": str(tmp_path / "lib"), "PYTHONSAFEPATH": "" if safe else "1"}
    (tmp_path / "lib").mkdir()
    (tmp_path / "show.py").write_text("import sys; print(sys.path[0])\n")
    done = run(tmp_path, *safe, "-m", "launcher.runtime", "--", "show.py", **env)
    assert done.stdout == f"{tmp_path / 'lib'}\n", done.stderr
