"""The status file of a rank, replaced about every second and at every change of state.

A program may replace functions such as `time.monotonic`: what this needs is bound at import.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace as changed
from os import getpid
from pathlib import Path
from time import monotonic, time
from typing import Any, TextIO

from launcher.files import replace
from launcher.specs import RankRecord, RankState, to_json

__all__ = ["LineFile", "RankStatus"]

logger = logging.getLogger(__name__)

_ENDED = (RankState.DONE, RankState.SAVED, RankState.FAILED)


class RankStatus:
    """The status record of a rank, and a thread that writes it.

    `count_step` and `progress` run in every training step: they take no lock and read the clock
    once. `update` writes the file before it returns. In processes forked from the rank every method
    does nothing: they inherit this object, and the file is not theirs.
    """

    def __init__(
        self,
        record: RankRecord,
        path: Path | None,
        *,
        interval_s: float = 1.0,
        clock: Callable[[], float] = time,
    ) -> None:
        self._record = record
        self._path = path
        self._interval_s = interval_s
        self._clock = clock
        self._owner = getpid()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._warned = False
        self._step = record.step
        self._progress_at = record.progress_at
        self._phase_since = monotonic()
        self.on_beat: list[Callable[[], object]] = []
        """Called in the heartbeat thread before every write."""

    @property
    def record(self) -> RankRecord:
        """The record as it is now."""
        return self._snapshot()

    @property
    def ended(self) -> bool:
        return self._record.state in _ENDED

    def start(self) -> None:
        """Write the first record and start the thread."""
        self.write()
        self._thread = threading.Thread(target=self._beat, name="launcher-heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write the last record and stop the thread."""
        if getpid() != self._owner:
            return
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        self.write()

    def now(self) -> float:
        return self._clock()

    def count_step(self, step: int) -> None:
        self._step = step
        self._progress_at = self._clock()

    def progress(self) -> None:
        self._progress_at = self._clock()

    def change(self, **changes: Any) -> None:
        """Change the record; the next heartbeat writes it."""
        if getpid() == self._owner:
            with self._lock:
                self._record = changed(self._record, **changes)

    def update(self, **changes: Any) -> None:
        """Change the record and write it now."""
        self.change(**changes)
        self.write()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Account the time of the body to `name`, without the time of phases inside it."""
        outer = self._enter(name)
        try:
            yield
        finally:
            self._enter(outer if outer != "start" else "other")

    def _enter(self, name: str) -> str:
        if getpid() != self._owner:
            return self._record.phase
        with self._lock:
            now = monotonic()
            record = self._record
            self._record = changed(record, phase=name, phase_seconds=self._seconds(now))
            self._phase_since = now
            self._progress_at = self._clock()
        self.write()
        return record.phase

    def _seconds(self, now: float) -> dict[str, float]:
        record = self._record
        spent = record.phase_seconds.get(record.phase, 0.0) + now - self._phase_since
        return {**record.phase_seconds, record.phase: spent}

    def _snapshot(self) -> RankRecord:
        record = self._record
        return changed(
            record,
            step=self._step,
            progress_at=self._progress_at,
            heartbeat_at=self._clock(),
            phase_seconds=self._seconds(monotonic()),
        )

    def write(self) -> None:
        """Write the record now. Log an error only once: a full disk must not end the training."""
        if self._path is None or getpid() != self._owner:
            return
        try:
            with self._lock:
                replace(self._path, to_json(self._snapshot()))
        except OSError as error:
            if not self._warned:
                logger.warning("cannot write the status file `%s`: %s", self._path, error)
            self._warned = True

    def _beat(self) -> None:
        while not self._wake.wait(self._interval_s):
            for action in self.on_beat:
                action()
            self.write()


class LineFile:
    """A file with one JSON object per line. Without a path, nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None

    def append(self, value: Mapping[str, Any]) -> None:
        """Append one line. After a crash, the last line of the file may be cut short."""
        if self._path is None:
            return
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8")
        self._file.write(json.dumps(value) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; the next `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None
