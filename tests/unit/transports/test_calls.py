from __future__ import annotations

import sys
import threading

import pytest

from launcher.transports.calls import CallResult, Calls
from tests.unit.transports.conftest import wait_until

pytestmark = pytest.mark.process


def run(calls: Calls, code: str, *, timeout_s: float = 60) -> CallResult:
    return calls.run((sys.executable, "-c", code), b"input", timeout_s=timeout_s)


def test_a_call_gets_its_input_and_returns_what_it_wrote() -> None:
    code = "import sys; print(sys.stdin.read()); sys.exit('complaint')"
    call = run(Calls(), code)
    assert call == CallResult(code=1, output=b"input\n", stderr="complaint\n")


def test_what_was_written_before_the_timeout_is_kept() -> None:
    code = "import time; print('first', flush=True); time.sleep(600)"
    call = run(Calls(), code, timeout_s=3)
    assert (call.code, call.output) == (None, b"first\n")


def test_closing_ends_calls_that_run_and_later_ones() -> None:
    calls = Calls()
    found: list[CallResult] = []
    waiting = threading.Thread(
        target=lambda: found.append(run(calls, "import time; time.sleep(600)", timeout_s=600))
    )
    waiting.start()
    wait_until("the call", lambda: calls._running)
    calls.close()
    waiting.join(60)
    assert [call.code for call in found] == [-9]
    assert run(calls, "import time; time.sleep(600)", timeout_s=600).code == -9
