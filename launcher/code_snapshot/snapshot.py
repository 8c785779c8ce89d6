"""The code of a run: the snapshot of its first start, or a new one."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.code_snapshot import store
from launcher.code_snapshot.filters import FOLDER
from launcher.code_snapshot.project import (
    Project,
    imports_of,
    is_own_recipe,
    launcher_package,
    project_of,
)
from launcher.code_snapshot.store import ProjectTree
from launcher.errors import ConfigError
from launcher.files import replace
from launcher.programs import FoundModule
from launcher.specs import CodeSnapshot, RunLayout, from_json, short, to_json

_MAX_NAMES = 3


@dataclass(frozen=True, kw_only=True)
class RunCode:
    """The code of a run. Nothing is written before `freeze`."""

    snapshot: CodeSnapshot
    layout: RunLayout
    storage_root: Path
    launcher: ProjectTree
    """Our own package in its current state. Nodes need not have it; all runs share its copy."""
    source: ProjectTree | None = None
    """What `freeze` will copy; None if the run already has a snapshot."""

    @classmethod
    def of(
        cls,
        program: Path | FoundModule | None,
        *,
        layout: RunLayout,
        storage_root: Path,
        cwd: Path,
        anew: bool,
    ) -> RunCode | None:
        """Return the code of the run; None if it has no snapshot and `program` does not exist.

        With `anew`, take the current code even if the run has a snapshot.

        Raises:
            ConfigError: the code is too large, or cannot be read.
        """
        source, snapshot = None, None if anew else _recorded(layout)
        if snapshot is None:
            if program is None or (isinstance(program, Path) and not program.is_file()):
                return None  # preflight reports this together with all other problems
            source = ProjectTree.of(_project(program, cwd, storage_root))
            snapshot = _describe(source, cwd, program)
        return cls(
            snapshot=snapshot,
            layout=layout,
            storage_root=storage_root,
            launcher=ProjectTree.of(launcher_package()),
            source=source,
        )

    def freeze(self) -> RunCode:
        """Copy our own package and the project, or verify the existing snapshot.

        Raises:
            StagingError: a copy cannot be written, or the snapshot was modified.
        """
        store.publish(self.launcher, self.storage_root)
        if self.source is None:
            store.require_unchanged(self.folder.parent)
            return self
        digest = store.publish(self.source, self.storage_root).digest  # a file may have changed
        place = f"{FOLDER}/{short(digest)}/{self.source.tree.name}"
        snapshot = dataclasses.replace(self.snapshot, digest=digest, place=place)
        return dataclasses.replace(self, snapshot=snapshot, source=None)

    def record(self) -> None:
        """Make this the code of the run, also for later attempts. Call after `freeze`."""
        self.layout.path.mkdir(parents=True, exist_ok=True)
        replace(self.layout.code, to_json(self.snapshot, indent=2))

    @property
    def folder(self) -> Path:
        """The copy of the project."""
        return self.snapshot.folder(self.storage_root)

    @property
    def program(self) -> Path:
        """The program in the copy."""
        return self.folder / self.snapshot.program

    @property
    def packages(self) -> Path:
        """The folder with the copy of our own package."""
        copy = self.storage_root / self.launcher.folder_name / self.launcher.tree.name
        return (copy / self.launcher.project.program).parents[1]

    @property
    def notes(self) -> tuple[str, ...]:
        """A note for a user who has edited the code since the snapshot, or who has no snapshot."""
        if not self.snapshot.program:
            cwd = self.snapshot.cwd
            note = "the module is installed in the environment, so no code is copied"
            return (f"{note}; modules in {cwd} are used as they are",)
        names = () if self.source else _changes(self.snapshot, storage_root=self.storage_root)
        if not names:
            return ()
        shown = ", ".join(names[:_MAX_NAMES]) + (", ..." if len(names) > _MAX_NAMES else "")
        differ = "1 file differs" if len(names) == 1 else f"{len(names)} files differ"
        note = f"{differ} from the code snapshot that this run uses: {shown}"
        return (f"{note}; add code=new to use your edited code",)

    def variables(
        self, env: Mapping[str, str], inherited: str, *, is_module: bool = False
    ) -> dict[str, str]:
        """Return the environment variables of the ranks, from those the user set in `env`.

        `inherited` is the `PYTHONPATH` they would have otherwise. All its entries are absolute.
        """
        entries = env.get("PYTHONPATH", inherited).split(os.pathsep)
        theirs = [self._in_copy(Path(entry)) for entry in entries if entry]
        editable = [str(self.folder / each) for each in self.snapshot.imports]
        path = dict.fromkeys([str(self.packages), *theirs, *editable])
        program = Path(self.snapshot.project) / self.snapshot.program
        return {
            **env,
            "PYTHONPATH": os.pathsep.join(path),
            **({} if is_own_recipe(program) else {"LAUNCHER_PACKAGES": str(self.packages)}),
            "LAUNCHER_CWD": self.snapshot.cwd,
            "LAUNCHER_FROZEN_CWD": str(self._copy_of_cwd() or self.folder),
            **self._import_folder(is_module=is_module),
        }

    def _in_copy(self, entry: Path) -> str:
        """Return the copy of a folder on `PYTHONPATH`; the folder itself if it is not copied."""
        project, real = Path(self.snapshot.project), entry.resolve()
        if not real.is_relative_to(project):
            return str(entry)
        copy = self.folder / real.relative_to(project)
        if self.source:  # nothing is copied yet
            prefix = f"{real.relative_to(project)}/".removeprefix("./")
            copied = any(
                each.sha256 and each.path.startswith(prefix) for each in self.source.tree.items
            )
        else:
            copied = copy.is_dir() and copy.resolve().is_relative_to(self.folder.resolve())
        return str(copy if copied else entry)

    def _copy_of_cwd(self) -> Path | None:
        """Return the copy of the user's working directory; None if it is not in the project."""
        project, cwd = Path(self.snapshot.project), Path(self.snapshot.cwd)
        inside = cwd.is_relative_to(project)
        return self.folder / cwd.relative_to(project) if inside else None

    def _import_folder(self, *, is_module: bool) -> dict[str, str]:
        """A module imports from the copy of the working directory, which is first on its path."""
        copy = self._copy_of_cwd() if is_module and self.snapshot.program else None
        return {"LAUNCHER_IMPORT_FOLDER": str(copy)} if copy else {}


def _project(program: Path | FoundModule, cwd: Path, storage_root: Path) -> Project:
    if isinstance(program, Path):
        return project_of(program, storage_root=storage_root)
    if program.file is None or program.root is None:  # installed, as torch is
        return Project(folder=cwd, program="", names=())
    folder = cwd if program.root.is_relative_to(cwd) else program.root
    return project_of(program.file, storage_root=storage_root, folder=folder)


def _describe(source: ProjectTree, cwd: Path, program: Path | FoundModule) -> CodeSnapshot:
    project, tree = source.project, source.tree
    imports = imports_of(project.folder, tree.items)
    root = program.root.resolve() if isinstance(program, FoundModule) and program.root else cwd
    if root != cwd and root.is_relative_to(project.folder):
        imports = tuple(dict.fromkeys((*imports, str(root.relative_to(project.folder)))))
    return CodeSnapshot(
        digest=tree.digest,
        place=f"{source.folder_name}/{tree.name}",
        program=project.program,
        imports=imports,
        project=str(project.folder),
        cwd=str(cwd),
        commit=project.commit,
        dirty=project.dirty,
    )


def _recorded(layout: RunLayout) -> CodeSnapshot | None:
    try:
        return from_json(CodeSnapshot, layout.code.read_bytes())
    except (OSError, ValueError):
        return None


def _changes(code: CodeSnapshot, *, storage_root: Path) -> tuple[str, ...]:
    """Return the files of the project that differ from the snapshot; none if it is not visible.

    Symlinked files are not part of the snapshot.
    """
    manifest = store.read_manifest(code.folder(storage_root).parent)
    program = Path(code.project) / code.program
    if manifest is None or not program.is_file():
        return ()
    try:
        project = project_of(program, storage_root=storage_root, folder=Path(code.project))
        current = ProjectTree.of(project).tree
    except ConfigError:
        return ()
    then_files, now_files = (
        tuple(item for item in items if item.sha256) for items in (manifest.items, current.items)
    )
    return tuple(store.different(then_files, now_files))
