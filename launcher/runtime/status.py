"""The rank's status file: written beside and renamed, about every second and at every change."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from launcher.files import replace
from launcher.specs import RankRecord, RankState, to_json

__all__ = ["LineFile", "RankStatus"]

logger = logging.getLogger(__name__)

_ENDED = (RankState.DONE, RankState.SAVED, RankState.FAILED)


class RankStatus:
    """Holds what the rank tells the outside, and a thread that writes it down.

    Counters (`count_step`, `progress`) are plain attribute writes without a lock or a clock call
    beyond one: they run once per training step. `update` writes the file before it returns.
    Processes forked from the rank inherit this object and must not write the rank's file: every
    method is a no-op in them.
    """

    def __init__(
        self,
        record: RankRecord,
        path: Path | None,
        *,
        interval_s: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._record = record
        self._path = path
        self._interval_s = interval_s
        self._clock = clock
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._warned = False
        self._step = record.step
        self._progress_at = record.progress_at
        self._phase_since = time.monotonic()
        self.on_beat: list[Callable[[], object]] = []
        """Called in the heartbeat thread before every write."""

    @property
    def record(self) -> RankRecord:
        """What would be written now."""
        return self._snapshot()

    @property
    def ended(self) -> bool:
        return self._record.state in _ENDED

    def start(self) -> None:
        """Write the first record and keep writing."""
        self.write()
        self._thread = threading.Thread(target=self._beat, name="launcher-heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write the last record and stop the thread."""
        if os.getpid() != self._owner:
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
        """Note something that the next heartbeat may tell."""
        if os.getpid() == self._owner:
            with self._lock:
                self._record = dataclasses.replace(self._record, **changes)

    def update(self, **changes: Any) -> None:
        """Note something that the outside has to know at once."""
        self.change(**changes)
        self.write()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Account the time of the body to `name`; time of an inner phase is not counted twice."""
        outer = self._enter(name)
        try:
            yield
        finally:
            self._enter(outer if outer != "start" else "other")

    def _enter(self, name: str) -> str:
        if os.getpid() != self._owner:
            return self._record.phase
        with self._lock:
            now = time.monotonic()
            record = self._record
            self._record = dataclasses.replace(record, phase=name, phase_seconds=self._seconds(now))
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
        return dataclasses.replace(
            record,
            step=self._step,
            progress_at=self._progress_at,
            heartbeat_at=self._clock(),
            phase_seconds=self._seconds(time.monotonic()),
        )

    def write(self) -> None:
        """Write the record now. A full disk must not end the training: it is logged once."""
        if self._path is None or os.getpid() != self._owner:
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


# Appending JSON lines that survive the process.
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
