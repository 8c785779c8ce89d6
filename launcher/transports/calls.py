"""One-shot calls: a process gets all its input at its start, and runs to its end."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

__all__ = ["CallResult", "Calls"]


@dataclass(frozen=True, kw_only=True)
class CallResult:
    """What one call returned."""

    code: int | None
    """None if it did not end in time."""
    output: bytes
    stderr: str


class Calls:
    """Makes calls, and kills those that still run when it is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def run(
        self,
        argv: Sequence[str],
        data: bytes,
        *,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
    ) -> CallResult:
        """Run `argv` with `data` as its input; it is killed after `timeout_s`.

        Raises:
            FileNotFoundError: the program does not exist.
        """
        with tempfile.TemporaryFile() as errors:  # see `Channel`
            with self._lock:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=env,
                    start_new_session=True,
                )
                self._running.add(process)
                if self._closed:
                    process.kill()
            try:
                return self._wait(process, data, timeout_s, errors)
            finally:
                with self._lock:
                    self._running.discard(process)

    def _wait(
        self, process: subprocess.Popen[bytes], data: bytes, timeout_s: float, errors: IO[bytes]
    ) -> CallResult:
        with process:
            try:
                output, _ = process.communicate(data, timeout_s)
                code = process.returncode
            except subprocess.TimeoutExpired as late:
                process.kill()
                output, code = late.output or b"", None
        errors.seek(0)
        return CallResult(code=code, output=output, stderr=errors.read().decode(errors="replace"))

    def close(self) -> None:
        """Kill the calls that still run, and every later one right after its start."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            process.kill()
