"""What holds for every test."""

from __future__ import annotations

import signal

import pytest

from tests.marker_guard import MarkerGuard

# A shell ignores Ctrl-C for what it starts in the background, `nohup` the end of the terminal, and
# so would every process that a test starts and then signals.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(MarkerGuard())
