"""Processes that ask something and come back: each is given all it needs, and runs to its end."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

__all__ = ["Errand", "Errands"]


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What came back."""

    code: int | None
    """None when it was not back in time."""
    output: bytes
    words: str
    """What it complained of."""


class Errands:
    """Runs such processes, and ends those that are still on their way when it is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def run(
        self,
        argv: Sequence[str],
        first: bytes,
        *,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
    ) -> Errand:
        """Run `argv` with `first` as its input; it is killed after `timeout_s`.

        Raises:
            FileNotFoundError: there is no such program.
        """
        with tempfile.TemporaryFile() as errors:  # see `Link`
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
                return self._wait(process, first, timeout_s, errors)
            finally:
                with self._lock:
                    self._running.discard(process)

    def _wait(
        self, process: subprocess.Popen[bytes], first: bytes, timeout_s: float, errors: IO[bytes]
    ) -> Errand:
        with process:
            try:
                output, _ = process.communicate(first, timeout_s)
                code = process.returncode
            except subprocess.TimeoutExpired as late:
                process.kill()
                output, code = late.output or b"", None
        errors.seek(0)
        return Errand(code=code, output=output, words=errors.read().decode(errors="replace"))

    def close(self) -> None:
        """End what is still running; what is started from now on ends at once."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            process.kill()
