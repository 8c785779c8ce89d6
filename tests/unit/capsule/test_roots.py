"""What runs write is no code, wherever in a project it lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.capsule.place import Capsule, publish
from launcher.capsule.project import project_of
from launcher.specs import RunLayout
from launcher.storage.manifest import Manifest, write_manifest


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def freeze(program: Path, root: Path) -> Path:
    """Do what a start of a run does; return the copy."""
    capsule = Capsule.of(project_of(program, storage_root=root))
    publish(capsule, root)
    return root / capsule.folder_name / capsule.tree.name


def keep_code(root: Path) -> None:
    freeze(write(root.parent.parent / "elsewhere" / "train.py"), root)


def keep_run(root: Path) -> None:
    layout = RunLayout.of(root, "r1")
    write(layout.plan, "{}")
    write(layout.attempt(1).plan, "{}")


def keep_snapshot(root: Path) -> None:
    folder = write(root / "staged" / "model-0a1b" / "config.json").parent
    write_manifest(folder, Manifest(name="model", key="0a1b", uri="file:///m", at=0.0, files=()))


def names(program: Path, root: Path) -> set[str]:
    return {each.path for each in project_of(program, storage_root=root).names}


KEEPERS = (keep_code, keep_run, keep_snapshot)


@pytest.fixture(params=["git", "no git"])
def program(request: pytest.FixtureRequest, checkout: Any, tmp_path: Path) -> Path:
    """The program of a project of each kind."""
    folder = checkout.folder if request.param == "git" else tmp_path / "plain" / "my-project"
    return write(folder / "train.py", "x = 1\n")


def test_roots_that_take_turns_do_not_grow(program: Path) -> None:
    project = program.parent
    copies = set()
    for _ in range(3):
        for name in ("a", "b", "deep/er/c"):
            root = project / name
            copy = freeze(program, root)
            keep_run(root)
            copies.add(copy)
            assert [path.name for path in copy.rglob("*")] == ["train.py"]
    assert len(copies) == 3  # one for each root: the code stayed the same


@pytest.mark.parametrize("keep", KEEPERS)
def test_each_thing_that_we_keep_tells_a_root(
    program: Path, root: Path, keep: Callable[[Path], None]
) -> None:
    other = program.parent / "old"
    write(other / "exported.py")
    assert names(program, root) == {"train.py", "old/exported.py"}
    keep(other)
    assert names(program, root) == {"train.py"}


def test_a_root_that_git_ignores_is_not_even_linked(checkout: Any, root: Path) -> None:
    program = checkout.write("train.py")
    checkout.write(".gitignore", "/old\n*.csv\n")
    checkout.write("new/data.csv")
    for name in ("old", "new"):
        keep_run(checkout.folder / name)
    assert names(program, root) == {"train.py", ".gitignore"}


def test_a_folder_of_the_user_is_code_by_whatever_name(program: Path, root: Path) -> None:
    own = {
        "train.py",
        "code/model.py",
        "code/capsule.json",
        "code/vision/capsule.json",
        "runs/plan.json",
        "runs/sweep/plan.json",
        "runs/tb/attempts/0001/events.out",
        "staged/rows/rows.txt",
    }
    for name in own - {"train.py"}:
        write(program.parent / name)
    assert names(program, root) == own


@pytest.mark.parametrize("keep", KEEPERS)
@pytest.mark.parametrize("in_use", [True, False])
def test_a_root_around_the_program_has_code_in_it(
    program: Path, root: Path, keep: Callable[[Path], None], in_use: bool
) -> None:
    project = program.parent
    write(project / "code" / "model.py")
    keep(project)
    found = names(program, project if in_use else root)
    assert found == {"train.py", "code/model.py"}


def test_a_root_in_use_is_known_by_a_name_with_links(program: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(program.parent)
    write(program.parent / "outputs" / "x.py")
    assert names(program, tmp_path / "link" / "outputs") == {"train.py"}
