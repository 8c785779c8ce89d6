"""Where copies lie, and how one comes into being: copied aside, marked, renamed.

::

    <storage.root>/code/
      1f0c5a7e93b24d68/         one per content, whoever needs it: the beginning of its digest
        capsule.json            what is in it; without this file it does not count
        my-project/             the copy
      .1f0c5a7e93b24d68.x7/     the beginning of one
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from launcher.code_snapshot import tree
from launcher.code_snapshot.project import FOLDER, MARKER, Project
from launcher.code_snapshot.tree import Item, Listed, Tree
from launcher.errors import StagingError
from launcher.files import replace, sync_folder
from launcher.specs import from_json, short, to_json
from launcher.storage.disk import DiskProblem, classify

_ABANDONED_S = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Marker:
    """What `capsule.json` says."""

    schema: int = 1
    digest: str
    name: str
    project: str
    commit: str
    dirty: bool
    at: float
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class Capsule:
    """A project as it was when somebody looked; nothing is written yet."""

    project: Project
    tree: Tree

    @classmethod
    def of(cls, project: Project) -> Capsule:
        name = project.folder.name or "project"
        return cls(project=project, tree=tree.read(project.folder, project.names, name=name))

    @property
    def folder_name(self) -> str:
        """Its folder relative to the storage root; the project is in it, by its own name."""
        return f"{FOLDER}/{short(self.tree.digest)}"


def publish(capsule: Capsule, storage_root: Path) -> Tree:
    """Make sure that the copy is there, and return what is in it.

    That is what was copied: it differs from what was looked at when a file changed in between.

    Raises:
        StagingError: it cannot be written, or the copy that is there has been changed.
    """
    folder = storage_root / capsule.folder_name
    if (folder / MARKER).exists():
        require_whole(folder)
        return capsule.tree
    try:
        return _publish(capsule, storage_root / FOLDER)
    except OSError as error:
        problem = DiskProblem(kind=classify(error), path=folder.parent, detail=str(error))
        raise StagingError(
            "the code of the run cannot be copied", context=problem.message, hint=problem.hint
        ) from error


def read_marker(folder: Path) -> Marker | None:
    """Return what is in the copy at `folder`, None when there is none that is complete."""
    try:
        return from_json(Marker, (folder / MARKER).read_bytes())
    except (OSError, ValueError):
        return None


def require_whole(folder: Path) -> Marker:
    """Return what is in the copy at `folder`, which may be years old, after reading it all.

    Raises:
        StagingError: it is gone, or something in it was changed.
    """
    marker = read_marker(folder)
    if marker is None:
        raise StagingError(
            "the code that belongs to this run is gone",
            context=f"there is no whole copy at {folder}",
            hint="code=new goes on with the project as it is now",
        )
    names = [Listed(path=item.path) for item in marker.items]
    now = tree.read(folder / marker.name, names, name=marker.name)
    changed = different(marker.items, now.items)
    if changed:
        raise StagingError(
            f"the frozen code at {folder} was changed: `{changed[0]}`",
            hint="delete that folder; code=new then goes on with the project as it is now",
        )
    return marker


def different(one: tuple[Item, ...], other: tuple[Item, ...]) -> list[str]:
    """Return the names whose content differs, in order."""
    first = {item.path: (item.sha256, item.target) for item in one}
    second = {item.path: (item.sha256, item.target) for item in other}
    return sorted(
        path for path in first.keys() | second.keys() if first.get(path) != second.get(path)
    )


def _publish(capsule: Capsule, parent: Path) -> Tree:
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    project = capsule.project
    beside = Path(tempfile.mkdtemp(prefix=f".{short(capsule.tree.digest)}.", dir=parent))
    try:
        name = capsule.tree.name
        copies = tree.copy(project.folder, project.names, name=name, to=beside / name)
        marker = Marker(
            digest=copies.digest,
            name=name,
            project=str(project.folder),
            commit=project.commit,
            dirty=project.dirty,
            at=time.time(),
            items=copies.items,
        )
        replace(beside / MARKER, to_json(marker), durable=True)
        beside.chmod(0o755)  # others may share the storage, and `mkdtemp` allows only us
        _rename(beside, parent / short(copies.digest))
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return copies


def _rename(beside: Path, target: Path) -> None:
    try:
        beside.rename(target)
    except OSError:
        if not (target / MARKER).exists():
            raise
        shutil.rmtree(beside, ignore_errors=True)  # somebody else was faster
    sync_folder(target.parent)


def _sweep(parent: Path) -> None:
    """Delete the beginnings of commands that were killed."""
    for folder in parent.glob(".*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)
