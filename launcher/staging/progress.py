"""Progress of staging, for progress bars."""

from __future__ import annotations

import threading
from typing import Protocol, runtime_checkable

from launcher.specs import StagedItem

__all__ = ["CountingProgress", "NoProgress", "OneAtATime", "Progress"]


class Progress(Protocol):
    """Receives the progress of several items. Its methods are never called concurrently."""

    def started(self, item_name: str, uri: str, total_bytes: int | None) -> None:
        """An item starts. Called again when its total is known. `uri` contains no secret."""
        ...

    def advanced(self, item_name: str, n_bytes: int) -> None:
        """`n_bytes` more have arrived, by this call or an earlier, interrupted one."""
        ...

    def finished(self, item: StagedItem) -> None:
        """The item is staged."""
        ...


@runtime_checkable
class CountingProgress(Progress, Protocol):
    """A progress that also receives the counts of build programs, in their own unit."""

    def counted(self, item_name: str, done: int, total: int, unit: str) -> None:
        """The build program of `item_name` has done `done` of `total` units."""
        ...


class NoProgress:
    """Ignores the progress."""

    def started(self, item_name: str, uri: str, total_bytes: int | None) -> None:
        pass

    def advanced(self, item_name: str, n_bytes: int) -> None:
        pass

    def finished(self, item: StagedItem) -> None:
        pass


class OneAtATime:
    """Lets several threads report to one progress, which then needs no lock."""

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
