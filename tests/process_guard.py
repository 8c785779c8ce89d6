"""Fails a test that starts a process without saying so: the fast tests stay fast."""

from __future__ import annotations

import functools
import multiprocessing.process
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SLOW = ("process", "e2e", "cluster")
_STARTS = frozenset({"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})


class ProcessGuard:
    """Plugin: notes every process that is started while an unmarked test runs."""

    def __init__(self) -> None:
        self._watching = False
        self._started: list[str] = []
        sys.addaudithook(self._hear)
        start = multiprocessing.process.BaseProcess.start  # `spawn` raises no audit event

        @functools.wraps(start)
        def noted(process: multiprocessing.process.BaseProcess) -> None:
            self._note(f"multiprocessing: {process.name}")
            start(process)

        multiprocessing.process.BaseProcess.start = noted  # type: ignore[method-assign]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._started.clear()
        self._watching = not any(item.get_closest_marker(name) for name in SLOW)
        try:
            return (yield)
        finally:
            self._watching = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report: Any = yield
        if self._started and report.passed:
            report.outcome = "failed"
            report.longrepr = (
                "this test starts processes: mark it with @pytest.mark.process\n"
                + "\n".join(self._started)
            )
            self._started.clear()
        return report

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event == "subprocess.Popen":
            self._note(f"{args[0]} {args[1]!r}")
        elif event in _STARTS:
            self._note(event)

    def _note(self, what: str) -> None:
        if self._watching:
            ours = [
                f"{Path(frame.filename).relative_to(ROOT)}:{frame.lineno}"
                for frame in traceback.extract_stack()
                if Path(frame.filename).is_relative_to(ROOT) and frame.filename != __file__
            ]
            self._started.append(f"{what}, by {' > '.join(ours)}")
