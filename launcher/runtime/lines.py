"""Appending JSON lines that survive the process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

__all__ = ["LineFile"]


class LineFile:
    """One JSON object per line, handed to the kernel before `append` returns.

    Without a path it takes everything and writes nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None

    def append(self, value: Mapping[str, Any]) -> None:
        """Write one line; a reader sees all of it or, after a crash, a last line cut short."""
        if self._path is None:
            return
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8")
        self._file.write(json.dumps(value) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Let go of the file; another `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None
