"""Questions to an interpreter of this machine."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from launcher.transports.local import LocalTransport
from launcher.transports.transport import Reach

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("does", "problem"),
    [
        ("exit 0", "ended with code 0 and printed nothing"),
        ("kill -9 $$", "ended with code -9 and printed nothing"),
        ("echo broken >&2; exit 3", "broken"),
    ],
)
def test_an_interpreter_that_does_not_answer_has_a_problem(
    tmp_path: Path, does: str, problem: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{does}\n")
    python.chmod(0o755)
    with contextlib.closing(LocalTransport(Reach(nodes=(), python=str(python)))) as transport:
        answer = transport.ask("", {0: {}}, timeout_s=60)[0]
    assert problem in answer.problem
    assert "cluster.python=" in answer.hint
