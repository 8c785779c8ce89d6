"""What has to be brought to shared storage before the ranks start."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, kw_only=True)
class StageItem:
    """One source, pinned, with the selection of its files that is wanted."""

    name: str
    """What the program asks for: `model`, `data` ..."""
    uri: str
    """`pypi://name==version`, `hf://org/model`, `build:///program.py`, or what fsspec knows."""
    revision: str = ""
    """Commit, tag or version, where the source has one."""
    include: tuple[str, ...] = ()
    """Patterns (fnmatch) of the files wanted; empty means all."""
    strip: str = ""
    """Leading folder to cut from the files' paths."""
    sha256: str = ""
    """Expected digest of the transferred archive or single file, where the config pins it."""
    options: dict[str, str] = field(default_factory=dict)
    """For `build://`: what the build program is told."""
    needs: tuple[str, ...] = ()
    """Names of items that a `build://` program reads; they are staged first."""

    def key(self, needed: tuple[str, ...] = ()) -> str:
        """Return 16 hex digits that name this request; equal requests share one staged folder.

        `needed` holds the keys of the items in `needs`, in their order: another input makes another
        result.
        """
        value = {**asdict(self), "needs": list(needed)}
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class StagedItem:
    """A verified snapshot, ready to read."""

    name: str
    key: str
    path: str
    """Folder that holds the files."""
    size_bytes: int
    files: int
    transferred_bytes: int
    """0 when it was already there."""
    seconds: float
