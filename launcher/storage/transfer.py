"""Transfer of files to local disk: in concurrent ranges, resumable, verified.

A file grows as `<scratch>/<digest of its path>.part`, with a log of its ranges (`range_log`). When
it is complete it is verified, flushed and renamed to its destination. So a file at its destination
is always complete.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.disk import is_disk_full
from launcher.files import sync_file
from launcher.specs.secrets import redact
from launcher.storage.filesystems import StorageError
from launcher.storage.range_log import Range, RangeLog, gaps

__all__ = ["Download", "Stopped", "TransferPolicy", "download"]

log = logging.getLogger(__name__)

_LEAVE_S = 2.0
"""How long to wait for the threads once a transfer has ended."""
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class Stopped(Exception):
    """The caller asked to stop. What has arrived is kept."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """One file to transfer."""

    path: str
    """In the form that its file system expects."""
    destination: Path
    size_bytes: int | None
    """None if unknown. The file is then read as one stream, which cannot resume."""
    version: str = ""
    """Changes when the content changes. Without it nothing is resumed."""
    verify: Callable[[Path], None] | None = None
    """Raises if the content is not what the source promised. The file is then deleted."""


@dataclass(frozen=True, kw_only=True)
class TransferPolicy:
    """Connections and range sizes. The defaults need 8 times 16 MiB of memory at most."""

    connections: int = 8
    smallest_range: int = 256 << 10
    first_range: int = 1 << 20
    largest_range: int = 16 << 20
    pauses_s: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 4.0)
    """Pauses before the retries of a range that failed."""


def download(
    filesystem: Any,
    files: Sequence[Download],
    *,
    scratch: Path,
    stop: threading.Event,
    advanced: Callable[[int], None],
    policy: TransferPolicy | None = None,
) -> int:
    """Transfer `files` to their destinations and return the number of bytes transferred.

    Args:
        filesystem: from `filesystems.filesystem`.
        files: with distinct destinations. One that exists with the right size is skipped.
        scratch: folder of partial files between calls, on the file system of the destinations.
        stop: if set, the call raises `Stopped` within seconds.
        advanced: called with the number of new bytes, including those from an earlier call.
        policy: connections and range sizes.

    Raises:
        Stopped: `stop` was set.
        StorageError: the server failed, and so did the retries.
        FileNotFoundError: a file does not exist.
        OSError: the local disk failed. What has arrived is kept.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    transfer = _Transfer(filesystem, files, scratch, stop, advanced, policy or TransferPolicy())
    return transfer.run()


@dataclass
class _PartialFile:
    """A file in transfer."""

    wanted: Download
    partial: Path
    file: Any
    log: RangeLog
    missing: list[Range]
    in_flight: int = 0


class _Transfer:
    """The queue of ranges and the threads that empty it."""

    def __init__(
        self,
        filesystem: Any,
        files: Sequence[Download],
        scratch: Path,
        stop: threading.Event,
        advanced: Callable[[int], None],
        policy: TransferPolicy,
    ) -> None:
        self._reader = _Reader(filesystem)
        self._waiting = list(reversed(files))
        self._scratch, self._stop, self._advanced, self._policy = scratch, stop, advanced, policy
        self._current: _PartialFile | None = None
        self._arriving: list[_PartialFile] = []
        self._range_bytes = policy.first_range
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._idle = threading.Event()
        self._working = policy.connections
        self._failure: BaseException | None = None
        self.transferred_bytes = 0

    def run(self) -> int:
        # daemon threads: one that hangs in a dead connection must not block Ctrl-C
        threads = [
            threading.Thread(target=self._work, name=f"transfer-{index}", daemon=True)
            for index in range(self._policy.connections)
        ]
        for thread in threads:
            thread.start()
        # not join(): after Ctrl-C in it, Python 3.11 takes a running thread for a finished one
        while not self._idle.wait(0.1) and not self._stop.is_set() and self._failure is None:
            pass
        self._ended.set()
        self._idle.wait(_LEAVE_S)
        if self._failure is not None:
            raise self._failure
        if self._stop.is_set():
            raise Stopped
        return self.transferred_bytes

    def _work(self) -> None:
        try:
            while (taken := self._take()) is not None:
                arriving, part = taken
                if part is None:
                    self._stream(arriving)
                else:
                    self._fetch(arriving, part)
        except Stopped:
            return
        except BaseException as error:
            self._failure = self._failure or error
        finally:
            self._close_as_last()

    def _close_as_last(self) -> None:
        with self._lock:
            self._working -= 1
            if self._working == 0:
                for arriving in self._arriving:
                    arriving.file.close()
                self._idle.set()

    def _check(self) -> None:
        if self._stop.is_set() or self._ended.is_set() or self._failure is not None:
            raise Stopped

    def _take(self) -> tuple[_PartialFile, Range | None] | None:
        """Return the next range to fetch, or None if none is left."""
        with self._lock:
            self._check()
            while self._current is None or not self._current.missing:
                if not self._waiting:
                    return None
                self._current = self._open(self._waiting.pop())
                if self._current is not None and self._streams(self._current.wanted):
                    arriving, self._current = self._current, None
                    return arriving, None
            arriving = self._current
            whole = arriving.missing.pop(0)
            part = Range(whole.start, min(whole.end, whole.start + self._range_bytes))
            if part.end < whole.end:
                arriving.missing.insert(0, Range(part.end, whole.end))
            arriving.in_flight += 1
            return arriving, part

    def _open(self, wanted: Download) -> _PartialFile | None:
        if wanted.destination.exists() and _size(wanted.destination) == wanted.size_bytes:
            self._advanced(wanted.size_bytes or 0)
            return None
        name = hashlib.sha256(os.fsencode(wanted.path)).hexdigest()[:16]
        partial = self._scratch / f"{name}.part"
        size = wanted.size_bytes or 0
        ranges = RangeLog(
            self._scratch / f"{name}.journal", size_bytes=size, version=wanted.version
        )
        done = ranges.resume(partial)
        self._advanced(sum(part.size_bytes for part in done))
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT, 0o644)
        arriving = _PartialFile(
            wanted=wanted,
            partial=partial,
            file=os.fdopen(descriptor, "r+b", buffering=0),
            log=ranges,
            missing=list(gaps(done, size)),
        )
        self._arriving.append(arriving)
        if not arriving.missing and wanted.size_bytes is not None:
            self._finish(arriving)
            return None
        return arriving

    def _streams(self, wanted: Download) -> bool:
        return wanted.size_bytes is None or (
            wanted.size_bytes > self._policy.smallest_range
            and not self._reader.ranges(wanted.path, wanted.size_bytes)
        )

    def _fetch(self, arriving: _PartialFile, part: Range) -> None:
        began = time.monotonic()
        content = self._read_with_retries(arriving.wanted, part)
        self._adapt(time.monotonic() - began, part)
        self._check()
        _write(arriving.file, content, part.start)
        arriving.log.add(part, content)
        self._count(part.size_bytes)
        with self._lock:
            arriving.in_flight -= 1
            last = not arriving.missing and not arriving.in_flight
        if last:
            self._finish(arriving)

    def _read_with_retries(self, wanted: Download, part: Range) -> bytes:
        for pause in (*self._policy.pauses_s, None):
            try:
                return self._reader.read(wanted.path, part, wanted.size_bytes or 0)
            except Exception as error:
                if pause is None or not is_transient(error):
                    raise translated(wanted.path, error) from error
                log.debug(
                    "`%s` at %d: %s; retrying",
                    redact(wanted.path),
                    part.start,
                    type(error).__name__,
                )
                self._stop.wait(pause)
                self._check()
        raise AssertionError("the last pause is None")

    def _stream(self, arriving: _PartialFile) -> None:
        """Read a file from a server without ranges. If it is interrupted, it starts again."""
        position = 0
        try:
            with self._reader.stream(arriving.wanted.path) as source:
                while content := source.read(1 << 20):
                    self._check()
                    _write(arriving.file, content, position)
                    position += len(content)
                    self._count(len(content))
        except (Stopped, FileNotFoundError, PermissionError):
            raise
        except Exception as error:
            raise translated(arriving.wanted.path, error) from error
        expected = arriving.wanted.size_bytes
        if expected is not None and position != expected:
            raise StorageError(
                f"`{redact(arriving.wanted.path)}` ended after {position} of {expected} bytes"
            )
        arriving.file.truncate(position)
        self._finish(arriving)

    def _adapt(self, seconds: float, part: Range) -> None:
        """Use large ranges on fast connections, and small ones on slow connections."""
        policy = self._policy
        if part.size_bytes < self._range_bytes:
            return
        if seconds < 0.25:
            self._range_bytes = min(policy.largest_range, self._range_bytes * 2)
        elif seconds > 2:
            self._range_bytes = max(policy.smallest_range, self._range_bytes // 2)

    def _count(self, size_bytes: int) -> None:
        with self._lock:
            self.transferred_bytes += size_bytes
        self._advanced(size_bytes)

    def _finish(self, arriving: _PartialFile) -> None:
        wanted = arriving.wanted
        arriving.file.truncate(
            _size(arriving.partial) if wanted.size_bytes is None else wanted.size_bytes
        )
        arriving.file.close()
        journal = arriving.partial.with_suffix(".journal")
        if wanted.verify is not None:
            try:
                wanted.verify(arriving.partial)
            except BaseException:
                # resuming from wrong bytes would fail forever
                arriving.partial.unlink(missing_ok=True)
                journal.unlink(missing_ok=True)
                raise
        sync_file(arriving.partial)
        wanted.destination.parent.mkdir(parents=True, exist_ok=True)
        arriving.partial.replace(wanted.destination)
        journal.unlink(missing_ok=True)


class _Reader:
    """Ranges of files, whatever the file system."""

    def __init__(self, filesystem: Any) -> None:
        self._filesystem = filesystem
        protocol = filesystem.protocol
        names = (protocol,) if isinstance(protocol, str) else tuple(protocol)
        self._http = "http" in names or "https" in names
        self._known: bool | None = None if self._http else True

    def ranges(self, path: str, size_bytes: int) -> bool:
        """Return whether the server supports ranges. Asks once."""
        if self._known is None:
            try:
                self.read(path, Range(1, 2), size_bytes)
                self._known = True
            except ValueError:
                self._known = False
            except Exception as error:
                log.debug("cannot tell whether ranges are supported: %s", type(error).__name__)
                return True
        return self._known

    def read(self, path: str, part: Range, size_bytes: int) -> bytes:
        """Return exactly the bytes of `part`, or raise."""
        content = self._read_http(path, part, size_bytes) if self._http else self._cat(path, part)
        if len(content) != part.size_bytes:
            raise _ShortReadError(f"got {len(content)} of {part.size_bytes} bytes")
        return content

    def _cat(self, path: str, part: Range) -> bytes:
        return bytes(self._filesystem.cat_file(path, start=part.start, end=part.end))

    def _read_http(self, path: str, part: Range, size_bytes: int) -> bytes:
        # not cat_file, which reads the whole body if a server ignores the range
        with self._filesystem.open(
            path, "rb", block_size=part.size_bytes, cache_type="none", size=size_bytes
        ) as file:
            file.seek(part.start)
            return bytes(file.read(part.size_bytes))

    def stream(self, path: str) -> Any:
        options = {"block_size": 0} if self._http else {}
        return self._filesystem.open(path, "rb", **options)


class _ShortReadError(OSError):
    """The server closed the connection early."""


def is_transient(error: BaseException) -> bool:
    """Return whether a retry may help."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status in _TRANSIENT_STATUS
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)) or is_disk_full(
        error
    ):
        return False
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] == "aiohttp"


def translated(path: str, error: BaseException) -> Exception:
    """Return `error` as one of our errors, without secrets."""
    where = redact(path)
    status = getattr(error, "status", None)
    if status in (401, 403) or isinstance(error, PermissionError):
        return PermissionError(f"`{where}`: access denied")
    if status == 404 or isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"`{where}` does not exist")
    reason = redact(str(error)) or type(error).__name__
    if isinstance(status, int):
        reason = f"the server returned status {status}"
    return StorageError(f"`{where}` could not be read: {reason}")


def _write(file: Any, content: bytes, position: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(file.fileno(), view, position)
        view, position = view[written:], position + written


def _size(path: Path) -> int:
    return path.stat().st_size
