"""Looking at the code of a program, and freezing it for a run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from launcher.code_snapshot import place
from launcher.code_snapshot.place import Capsule
from launcher.code_snapshot.project import FOLDER, imports_of, project_of
from launcher.errors import ConfigError
from launcher.files import replace
from launcher.specs import CodeSnapshot, RunLayout, from_json, short, to_json


@dataclass(frozen=True, kw_only=True)
class Look:
    """A program's code as it is now, and what it will be called; nothing is written yet."""

    capsule: Capsule
    code: CodeSnapshot


def look(program: Path, *, storage_root: Path, cwd: Path) -> Look:
    """Read the code around `program`, which exists.

    Raises:
        ConfigError: it is too large to be code, or cannot be read.
    """
    project = project_of(program, storage_root=storage_root)
    capsule = Capsule.of(project)
    code = CodeSnapshot(
        digest=capsule.tree.digest,
        place=f"{capsule.folder_name}/{capsule.tree.name}",
        program=project.program,
        imports=imports_of(project.folder, capsule.tree.items),
        project=str(project.folder),
        cwd=str(cwd),
        commit=project.commit,
        dirty=project.dirty,
    )
    return Look(capsule=capsule, code=code)


def freeze(look: Look, *, storage_root: Path) -> CodeSnapshot:
    """Copy the code, once per content, and return what was copied.

    Raises:
        StagingError: it cannot be written.
    """
    digest = place.publish(look.capsule, storage_root).digest
    name = look.capsule.tree.name
    return dataclasses.replace(look.code, digest=digest, place=f"{FOLDER}/{short(digest)}/{name}")


def record(code: CodeSnapshot, layout: RunLayout) -> None:
    """Write down that the code belongs to the run, and to all its attempts from now on."""
    replace(layout.code, to_json(code, indent=2))


def recorded(layout: RunLayout) -> CodeSnapshot | None:
    """Return the code that was frozen for the run, None if that has not happened."""
    try:
        return from_json(CodeSnapshot, layout.code.read_bytes())
    except (OSError, ValueError):
        return None


def changes(code: CodeSnapshot, *, storage_root: Path) -> tuple[str, ...]:
    """Return which files of the project differ now from the copy; none where it cannot be seen."""
    marker = place.read_marker(code.folder(storage_root).parent)
    program = Path(code.project) / code.program
    if marker is None or not program.is_file():
        return ()
    try:
        now = Capsule.of(project_of(program, storage_root=storage_root)).tree
    except ConfigError:
        return ()
    # What is linked comes and goes: it is no code.
    then_files, now_files = (
        tuple(item for item in items if item.sha256) for items in (marker.items, now.items)
    )
    return tuple(place.different(then_files, now_files))
