"""What holds for every test."""

from __future__ import annotations

import os
import signal

import pytest

from tests.marker_guard import MarkerGuard

# A shell ignores Ctrl-C for what it starts in the background, `nohup` the end of the terminal, and
# so would every process that a test starts and then signals.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)

# What a person exports for their own runs would change the plans of the tests, or where they write.
KEPT = ("LAUNCHER_WRITE_DOCS",)  # for tests/unit/config/test_docs.py
for name in [each for each in os.environ if each.startswith("LAUNCHER_") and each not in KEPT]:
    del os.environ[name]
os.environ.pop("OMP_NUM_THREADS", None)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(MarkerGuard())
