"""Where a copy's modules are imported from."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from launcher.capsule.imports import imports_of
from launcher.capsule.tree import Item


def items(*paths: str) -> list[Item]:
    return [Item(path=path, sha256="x") for path in paths]


def test_only_folders_of_the_project_that_were_copied_count(tmp_path: Path) -> None:
    path = [str(tmp_path / "src"), str(tmp_path / ".venv/lib"), "/usr/lib", "", str(tmp_path)]
    found = imports_of(tmp_path, items("src/pkg/a.py"), path=path, modules={})
    assert found == ("src", ".")


def test_packages_in_editable_mode_are_found(tmp_path: Path) -> None:
    finder = ModuleType("__editable___pkg_finder")
    finder.MAPPING = {"pkg": str(tmp_path / "lib" / "pkg")}  # type: ignore[attr-defined]
    found = imports_of(tmp_path, items("lib/pkg/a.py"), path=[], modules={finder.__name__: finder})
    assert found == ("lib",)
