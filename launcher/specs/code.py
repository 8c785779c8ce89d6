"""The code that a run uses, as it was when the run began."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class FrozenCode:
    """Which copy of a project belongs to a run; stands in its `code.json` and in every plan."""

    digest: str
    """Of all names, modes and contents."""
    place: str
    """Folder of the copy, relative to the storage root: that may be mounted elsewhere one day."""
    program: str
    """The program, relative to the copy."""
    imports: tuple[str, ...] = ()
    """Folders of the copy from which modules are imported, relative to it."""
    project: str
    """Folder that was copied."""
    cwd: str
    """Where the person stood: what the program opens by a relative path starts there."""
    commit: str = ""
    """Git commit of the project; empty outside of git."""
    dirty: bool = False
    """Whether something differed from that commit."""

    def folder(self, storage_root: str | Path) -> Path:
        """Return the copy's absolute folder."""
        return Path(storage_root) / self.place

    @property
    def short(self) -> str:
        """The part of the digest that names folders."""
        return short(self.digest)


def short(digest: str) -> str:
    """Return the part of a digest that names a folder: long enough, and still to be read."""
    return digest[:16]
