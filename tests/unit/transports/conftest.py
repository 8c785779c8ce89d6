"""Nodes that are reached by real ssh, all of them on this machine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.loopback import LoopbackSshd, why_not

NAMES = [f"node{number}" for number in range(40)]
WITHIN_S = 60


@pytest.fixture(scope="session")
def _openssh() -> None:
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def _server(_openssh: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackSshd]:
    with LoopbackSshd(tmp_path_factory.mktemp("sshd"), NAMES) as server:
        yield server


@pytest.fixture
def sshd(_server: LoopbackSshd, monkeypatch: pytest.MonkeyPatch) -> LoopbackSshd:
    monkeypatch.setenv("PATH", f"{_server.bin}:{os.environ['PATH']}")
    return _server


@pytest.fixture
def mark() -> Iterator[str]:
    """A mark for the environment of what a test starts; what still has it at the end is killed."""
    word = f"TORCH_LT_MARK={os.getpid()}.{time.monotonic_ns()}"
    yield word
    for pid in marked(word):
        os.kill(pid, signal.SIGKILL)


def marked(word: str) -> list[int]:
    """Return the live processes that were started with `word` in their environment."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and word.encode() in _read(entry / "environ").split(b"\0")
    ]


def wait_until(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.02)


def command_lines() -> list[bytes]:
    return [_read(entry / "cmdline") for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
