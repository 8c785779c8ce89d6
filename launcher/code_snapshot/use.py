"""The code that the attempts of one command run: that of the run's first start, or a new copy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.code_snapshot import freeze, place
from launcher.code_snapshot.freeze import Look
from launcher.code_snapshot.place import Capsule
from launcher.code_snapshot.project import launcher_package
from launcher.specs import CodeSnapshot, RunLayout

_MOST_NAMES = 3


@dataclass(frozen=True, kw_only=True)
class Code:
    """A run's code. Until `freeze` nothing is written."""

    frozen: CodeSnapshot
    layout: RunLayout
    storage_root: Path
    launcher: Capsule
    """Our own package, as it is now: nodes need not have it, and its copy serves all runs."""
    look: Look | None = None
    """What is to be copied; None when the run has its copy already."""

    @classmethod
    def of(
        cls, program: Path, *, layout: RunLayout, storage_root: Path, cwd: Path, anew: bool
    ) -> Code | None:
        """Return the code of the run; None when it has none and there is no such program.

        `anew` takes the code as it is now although the run has a copy.

        Raises:
            ConfigError: it is too large to be code, or cannot be read.
        """
        look, frozen = None, None if anew else freeze.recorded(layout)
        if frozen is None:
            if not program.is_file():
                return None  # preflight says what is wrong, together with everything else
            look = freeze.look(program, storage_root=storage_root, cwd=cwd)
            frozen = look.code
        return cls(
            frozen=frozen,
            layout=layout,
            storage_root=storage_root,
            launcher=Capsule.of(launcher_package()),
            look=look,
        )

    def freeze(self) -> Code:
        """Bring everything in place.

        Raises:
            StagingError: it cannot be written, or is not what it was.
        """
        place.publish(self.launcher, self.storage_root)
        if self.look is None:
            place.require_whole(self.folder.parent)
            return self
        frozen = freeze.freeze(self.look, storage_root=self.storage_root)
        return replace(self, frozen=frozen, look=None)

    def record(self) -> None:
        """Write down that this is the run's code from now on; only once it is frozen."""
        self.layout.path.mkdir(parents=True, exist_ok=True)
        freeze.record(self.frozen, self.layout)

    @property
    def folder(self) -> Path:
        """The copy."""
        return self.frozen.folder(self.storage_root)

    @property
    def program(self) -> Path:
        """The program in the copy."""
        return self.folder / self.frozen.program

    @property
    def packages(self) -> Path:
        """Folder with the copy of our own package."""
        return self.storage_root / self.launcher.folder_name

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know who edited something since."""
        if self.look is not None:
            return ()
        names = freeze.changes(self.frozen, storage_root=self.storage_root)
        if not names:
            return ()
        shown = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
        differ = "1 file differs" if len(names) == 1 else f"{len(names)} files differ"
        kept = f"{differ} from the code this run was started with, which it keeps: {shown}"
        return (f"{kept}; code=new takes the changed code",)

    def variables(self, env: Mapping[str, str], inherited: str) -> dict[str, str]:
        """Return the variables of the ranks: `env` is what the person gives them.

        `inherited` is the `PYTHONPATH` that they would have otherwise.
        """
        after = env.get("PYTHONPATH", inherited)
        path = [str(self.packages), *(str(self.folder / each) for each in self.frozen.imports)]
        return {
            **env,
            "PYTHONPATH": os.pathsep.join([*path, after] if after else path),
            "LAUNCHER_CWD": self.frozen.cwd,
            "LAUNCHER_FROZEN_CWD": str(self._counterpart()),
        }

    def _counterpart(self) -> Path:
        """Where ranks stand on a node that lacks the person's folder: in the same one here."""
        project, cwd = Path(self.frozen.project), Path(self.frozen.cwd)
        inside = cwd.is_relative_to(project)
        return self.folder / cwd.relative_to(project) if inside else self.folder
