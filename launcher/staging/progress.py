"""What staging tells while it works, so that somebody can draw bars."""

from __future__ import annotations

import threading
from typing import Protocol, runtime_checkable

from launcher.specs import StagedItem

__all__ = ["CountingProgress", "NoProgress", "OneAtATime", "Progress"]


class Progress(Protocol):
    """Hears about items that come at the same time; its methods are never called concurrently."""

    def started(self, item_name: str, uri: str, total_bytes: int | None) -> None:
        """An item begins; said again when its total becomes known. `uri` holds no secret."""
        ...

    def advanced(self, item_name: str, n_bytes: int) -> None:
        """So many more bytes are there, transferred now or found from an earlier, cut call."""
        ...

    def finished(self, item: StagedItem) -> None:
        """The item is in place."""
        ...


@runtime_checkable
class CountingProgress(Progress, Protocol):
    """A progress that also wants to hear what build programs count, in their own unit."""

    def counted(self, item_name: str, done: int, total: int, unit: str) -> None:
        """The program of `item_name` has `done` of `total` units behind it."""
        ...


class NoProgress:
    """Nobody listens."""

    def started(self, item_name: str, uri: str, total_bytes: int | None) -> None:
        pass

    def advanced(self, item_name: str, n_bytes: int) -> None:
        pass

    def finished(self, item: StagedItem) -> None:
        pass


class OneAtATime:
    """Lets several threads tell one progress, which then needs no lock of its own."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()

    def started(self, item_name: str, uri: str, total_bytes: int | None) -> None:
        with self._lock:
            self._progress.started(item_name, uri, total_bytes)

    def advanced(self, item_name: str, n_bytes: int) -> None:
        with self._lock:
            self._progress.advanced(item_name, n_bytes)

    def finished(self, item: StagedItem) -> None:
        with self._lock:
            self._progress.finished(item)

    def counted(self, item_name: str, done: int, total: int, unit: str) -> None:
        if isinstance(self._progress, CountingProgress):
            with self._lock:
                self._progress.counted(item_name, done, total, unit)
