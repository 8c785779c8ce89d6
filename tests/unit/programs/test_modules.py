"""Modules are found as `python -m` finds them, and nothing is imported for it."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher import config
from launcher.errors import ConfigError, PreflightError
from launcher.programs import FoundModule, check_name, find_module, import_path

Write = Callable[..., Path]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def write(here: Path) -> Write:
    def written(*names: str) -> Path:
        for name in names:
            path = here / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("raise RuntimeError('must not be imported')\n")
        return here / names[-1]

    return written


def find(name: str, here: Path, pythonpath: str = "", python: str = sys.executable) -> FoundModule:
    return find_module(name, import_path(here, {"PYTHONPATH": pythonpath}), python=python)


def test_a_home_folder_in_the_path_for_the_ranks_is_searched(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here))
    (here / "lib").mkdir()
    (here / "lib" / "train.py").touch()
    assert find("train", here, "~/lib").file == here / "lib" / "train.py"


def refused(name: str, here: Path) -> tuple[str, str]:
    with pytest.raises(PreflightError) as caught:
        find(name, here)
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("train", "train.py"),
        ("pkg.train", "pkg/train.py"),
        ("pkg.deep.train", "pkg/deep/train.py"),
        ("pkg", "pkg/__main__.py"),
        ("names.train", "names/train.py"),  # namespace packages have no __init__.py
        ("names.deep.train", "names/deep/train.py"),
        ("names.deep", "names/deep/__main__.py"),
        ("my-tool", "my-tool.py"),
    ],
)
def test_a_module_of_the_current_folder(write: Write, here: Path, name: str, file: str) -> None:
    write("pkg/__init__.py", "pkg/deep/__init__.py", file)
    assert find(name, here) == FoundModule(name=name, file=here / file, root=here)


def test_a_src_layout_is_found_through_pythonpath(write: Write, here: Path) -> None:
    file = write("src/pkg/__init__.py", "src/pkg/train.py")
    assert find("pkg.train", here, "src") == FoundModule(
        name="pkg.train", file=file, root=here / "src"
    )


def test_the_current_folder_comes_first(write: Write, here: Path) -> None:
    write("src/json/tool.py", "json/__init__.py", "json/tool.py")
    assert find("json.tool", here, "src").file == here / "json" / "tool.py"


@pytest.mark.parametrize("name", ["json.tool", "pytest", "this", "timeit"])
def test_a_module_of_the_environment_has_no_root(here: Path, name: str) -> None:
    found = find(name, here)
    assert found.root is None
    assert importlib.util.find_spec(name) is not None


def test_a_module_in_a_zip_has_no_file(here: Path) -> None:
    with zipfile.ZipFile(here / "code.zip", "w") as archive:
        archive.writestr("zipped/__init__.py", "")
        archive.writestr("zipped/train.py", "")
    assert find("zipped.train", here, "code.zip") == FoundModule(name="zipped.train")


def test_a_namespace_over_two_folders(write: Write, here: Path) -> None:
    write("one/names/a.py", "two/names/b.py")
    assert find("names.b", here, "one:two").root == here / "two"


def test_a_package_that_only_another_interpreter_may_have_is_left_to_it(
    write: Write, here: Path
) -> None:
    write("pkg/__init__.py")
    assert find("absent.train", here, python="/other/python") == FoundModule(name="absent.train")
    with pytest.raises(PreflightError, match="has no module `trian`"):
        find("pkg.trian", here, python="/other/python")


@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        ("pkg.trian", "the package `pkg` has no module `trian`", "`module=pkg.train`"),
        ("pkg.zzzzz", "has no module `zzzzz`", "modules in `pkg`: deep, train"),
        ("pgk.train", "no module named `pgk`", "`module=pkg.train`"),
        ("zzzzz.train", "no module named `zzzzz`", "modules here: pkg, tool"),
        ("inner.train", "no module named `inner`", "put `PYTHONPATH=src` before the command"),
        ("project.train", "no module named `project`", "put `PYTHONPATH=..` before the command"),
        ("tool.py", "`tool` is a file, not a package", "`module=tool`"),
        ("pkg.train.main", "`pkg.train` is a file, not a package", "`module=pkg.train`"),
        (
            "pkg",
            "`pkg` is a package without `__main__.py`",
            "modules in `pkg`: pkg.deep, pkg.train",
        ),
        ("json", "`json` is a package without `__main__.py`", "json.tool"),
    ],
)
def test_a_module_that_cannot_be_run_is_refused_with_the_nearest_name(
    write: Write, here: Path, name: str, what: str, hint: str
) -> None:
    write("pkg/__init__.py", "pkg/train.py", "pkg/deep/x.py", "tool.py")
    write("src/inner/__init__.py", "src/inner/train.py")
    message, says = refused(name, here)
    assert what in message
    assert hint in says


@pytest.mark.parametrize("name", ["train", "pkg.train", "_a.b1", "my-tool", "größe.x"])
def test_names_as_after_python_m(name: str) -> None:
    assert config.LaunchConfig(module=name).module == name


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("pkg/train.py", "pkg.train"),
        ("pkg/train", "pkg.train"),
        ("./pkg/train.py", "pkg.train"),
        ("pkg\\train.py", "pkg.train"),
        ("-m pkg.train", "pkg.train"),
        (".train", "train"),
        ("pkg.", "pkg"),
        ("/abs/pkg/train.py", ""),
        ("pkg.train:main", ""),
        ("pkg train", ""),
        ("..", ""),
    ],
)
def test_a_name_that_no_module_can_have_is_refused(name: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_name(name)
    expected = f"did you mean `module={meant}`?" if meant else "script=PATH"
    assert expected in caught.value.hint
