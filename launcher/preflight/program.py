"""Whether what the ranks run is there."""

from __future__ import annotations

import os
from pathlib import Path

from launcher.errors import nearest
from launcher.preflight.check import Subject, Trouble
from launcher.specs import Plan


def program(subject: Subject) -> Trouble | None:
    """A file that can be read; a directory or a typo is told with what was probably meant."""
    path = _source(subject.plan)
    if path.is_file():
        if os.access(path, os.R_OK):
            return None
        return Trouble(what=f"the program {path} cannot be read", hint=f"chmod +r {path}")
    if path.is_dir():
        return Trouble(what=f"the program {path} is a folder", hint="give a file in it: script=")
    return Trouble(what=f"the program {path} does not exist", hint=_meant(path))


def _source(plan: Plan) -> Path:
    """Return the program: before its first start a run has no copy of it yet."""
    path = Path(plan.program.path)
    return path if path.exists() else Path(plan.source)


def _meant(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist either; check the path"
    files = [each.name for each in folder.glob("*.py")]
    near = nearest(path.name, files)
    if near:
        return f"did you mean `{folder / near}`?"
    listed = ", ".join(sorted(files)[:8])
    return f"Python files in {folder}: {listed}" if listed else f"{folder} has no Python files"
