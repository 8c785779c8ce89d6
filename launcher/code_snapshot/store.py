"""The folder of all code snapshots, and how a snapshot gets there: copied aside, then renamed.

::

    <storage.root>/code/
      1f0c5a7e93b24d68/         one per content: the start of its digest; runs share it
        capsule.json            lists the content; without this file the snapshot does not count
        my-project/             the copy
      .1f0c5a7e93b24d68.x7/     an unfinished copy
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from launcher.code_snapshot import tree
from launcher.code_snapshot.filters import FOLDER, MANIFEST
from launcher.code_snapshot.project import Project
from launcher.code_snapshot.tree import Item, Listed, Tree
from launcher.disk import DiskProblem
from launcher.errors import StagingError
from launcher.files import replace, sync_folder
from launcher.specs import from_json, short, to_json

_ABANDONED_S = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class CodeManifest:
    """The content of `capsule.json`."""

    schema: int = 1
    digest: str
    name: str
    project: str
    commit: str
    dirty: bool
    at: float
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class ProjectTree:
    """A project and its content as read; nothing is written yet."""

    project: Project
    tree: Tree

    @classmethod
    def of(cls, project: Project) -> ProjectTree:
        name = project.folder.name or "project"
        return cls(project=project, tree=tree.read(project.folder, project.names, name=name))

    @property
    def folder_name(self) -> str:
        """The folder of its snapshot, relative to the storage root."""
        return f"{FOLDER}/{short(self.tree.digest)}"


def publish(source: ProjectTree, storage_root: Path) -> Tree:
    """Make sure that the snapshot exists, and return the tree that was copied.

    It differs from `source.tree` if a file changed in between.

    Raises:
        StagingError: the snapshot cannot be written, or the existing one was modified.
    """
    folder = storage_root / source.folder_name
    if (folder / MANIFEST).exists():
        require_unchanged(folder)
        return source.tree
    try:
        return _publish(source, storage_root / FOLDER)
    except OSError as error:
        problem = DiskProblem.of(error, folder.parent)
        raise StagingError(
            "cannot copy the code of the run", context=problem.message, hint=problem.hint
        ) from error


def read_manifest(folder: Path) -> CodeManifest | None:
    """Return the content of the snapshot at `folder`; None if there is no complete one."""
    try:
        return from_json(CodeManifest, (folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None


def require_unchanged(folder: Path) -> CodeManifest:
    """Read the whole snapshot at `folder`, which may be years old, and return its content.

    Raises:
        StagingError: it is missing, or a file in it was modified.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise StagingError(
            "the code snapshot of this run is missing",
            context=f"no complete snapshot at {folder}",
            hint="add code=new to use the current code of the project",
        )
    names = [Listed(path=item.path) for item in manifest.items]
    now = tree.read(folder / manifest.name, names, name=manifest.name)
    changed = different(manifest.items, now.items)
    if changed:
        raise StagingError(
            f"the code snapshot at {folder} was modified: `{changed[0]}`",
            hint="delete that folder, then add code=new to use the current code of the project",
        )
    return manifest


def different(one: tuple[Item, ...], other: tuple[Item, ...]) -> list[str]:
    """Return the names whose content differs, in order."""
    first = {item.path: (item.sha256, item.target) for item in one}
    second = {item.path: (item.sha256, item.target) for item in other}
    return sorted(
        path for path in first.keys() | second.keys() if first.get(path) != second.get(path)
    )


def _publish(source: ProjectTree, parent: Path) -> Tree:
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    project = source.project
    aside = Path(tempfile.mkdtemp(prefix=f".{short(source.tree.digest)}.", dir=parent))
    try:
        name = source.tree.name
        copies = tree.copy(project.folder, project.names, name=name, to=aside / name)
        manifest = CodeManifest(
            digest=copies.digest,
            name=name,
            project=str(project.folder),
            commit=project.commit,
            dirty=project.dirty,
            at=time.time(),
            items=copies.items,
        )
        replace(aside / MANIFEST, to_json(manifest), durable=True)
        aside.chmod(0o755)  # `mkdtemp` allows only us, but others may share the storage
        _rename(aside, parent / short(copies.digest))
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return copies


def _rename(aside: Path, target: Path) -> None:
    try:
        aside.rename(target)
    except OSError:
        if not (target / MANIFEST).exists():
            raise
        shutil.rmtree(aside, ignore_errors=True)  # another process was faster
    sync_folder(target.parent)


def _sweep(parent: Path) -> None:
    """Delete unfinished copies of commands that were killed."""
    for folder in parent.glob(".*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)
