"""How much of a project there is to copy, and where most of it lies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from launcher import units
from launcher.errors import ConfigError

LIMIT_BYTES = 100_000_000
LIMIT_FILES = 20_000
"""Code is smaller. What is larger has data in it, which belongs elsewhere."""
_NAMED_BYTES = 1_000_000
"""Larger files are named by themselves, smaller ones by their folder."""
_MOST_ROWS = 5


class Size:
    """Adds up what is to be copied from one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bytes: Counter[str] = Counter()
        self._files: Counter[str] = Counter()

    def add(self, path: str, size_bytes: int) -> None:
        where = path if size_bytes > _NAMED_BYTES else f"{path.rpartition('/')[0] or '.'}/"
        self._bytes[where] += size_bytes
        self._files[where] += 1

    @property
    def is_beyond(self) -> bool:
        return self._files.total() > LIMIT_FILES or self._bytes.total() > LIMIT_BYTES

    def require_code(self) -> None:
        """Refuse what is too large, and say what makes it so.

        Raises:
            ConfigError: it has too many bytes or files.
        """
        if not self.is_beyond:
            return
        by_bytes = self._bytes.total() > LIMIT_BYTES
        most = (self._bytes if by_bytes else self._files).most_common(_MOST_ROWS)
        limit = units.size(LIMIT_BYTES) if by_bytes else units.count(LIMIT_FILES, "file")
        raise ConfigError(
            f"the code in `{self._folder}` is too large to be copied: more than {limit}",
            context="\n".join(["most of it:", *(self._row(where) for where, _ in most)]),
            hint="let git ignore what is no code (it is linked, not copied), or put the program "
            "into a folder of its own; code=shared runs it where it lies",
        )

    def _row(self, where: str) -> str:
        files = f" ({units.count(self._files[where], 'file')})" if where.endswith("/") else ""
        return f"  {units.size(self._bytes[where]):>9}  {where}{files}"
