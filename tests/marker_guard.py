"""Fails a test that lacks a marker by which tests are chosen.

One that starts processes is marked `process`, so that the others stay fast. One that skips until
something is installed is marked `extras`, so that `.ci/run` finds it once that is installed.
"""

from __future__ import annotations

import platform
import sys
import traceback
from collections.abc import Generator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
STARTS_PROCESSES = ("process", "e2e", "cluster")
NEEDS_MORE = ("extras", "cluster", "gpu")
EVENTS = frozenset({"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})


class MarkerGuard:
    """A plugin that records which processes the current test starts, also in its threads."""

    def __init__(self) -> None:
        self._active = False
        self._started: list[str] = []
        platform.platform()  # the first call starts `uname`
        sys.addaudithook(self._audit)
        start = BaseProcess.start

        def recorded(process: BaseProcess) -> None:
            self._record(process.name)  # no audit event tells of the method `spawn`
            start(process)

        BaseProcess.start = recorded  # type: ignore[assignment,method-assign]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._started.clear()
        self._active = not _has(item, STARTS_PROCESSES)
        try:
            return (yield)
        finally:
            self._active = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        self._active = False  # fixtures of the session end with its last test, whichever that is

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.skipped and "install" in str(report.longrepr) and not _has(item, NEEDS_MORE):
            _fail(report, f"mark it with @pytest.mark.extras: {report.longrepr}")
        elif report.passed and self._started:
            _fail(report, "\n".join(["mark it with @pytest.mark.process:", *self._started]))
            self._started.clear()
        return report

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            self._record(f"{args[0]} {args[1]}")
        elif event in EVENTS:
            self._record(event)

    def _record(self, what: str) -> None:
        if self._active:
            places = [
                f"{Path(frame.filename).relative_to(ROOT)}:{frame.lineno}"
                for frame in traceback.extract_stack()
                if Path(frame.filename).is_relative_to(ROOT) and frame.filename != __file__
            ]
            self._started.append(f"{what} ({' > '.join(places)})")


def _has(item: pytest.Item, markers: tuple[str, ...]) -> bool:
    return any(item.get_closest_marker(name) for name in markers)


def _fail(report: pytest.TestReport, what: str) -> None:
    report.outcome = "failed"
    report.longrepr = what
