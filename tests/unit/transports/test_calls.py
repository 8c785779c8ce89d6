"""Calls to programs that answer like a node agent, or do not."""

from __future__ import annotations

import json
import sys
import threading

import pytest

from launcher.transports.calls import Barrier, CallResult, Calls, Limits
from launcher.transports.remote import HELLO
from tests.unit.transports.conftest import wait_until

pytestmark = pytest.mark.process

SAYS_HELLO = f"import json, sys, time; print({HELLO.decode()!r}, flush=True); "
SLEEPS = "import time; time.sleep(600)"


def says(message: object) -> str:
    line = json.dumps({"node": "n", "part": json.dumps(message), "number": 0, "of": 1})
    return f"print({line!r}, flush=True); "


def run(
    calls: Calls,
    code: str,
    *,
    hello_s: float = 60,
    ready_s: float = 60,
    answer_s: float = 60,
    barrier: Barrier | None = None,
) -> CallResult:
    limits = Limits(hello_s=hello_s, ready_s=ready_s, answer_s=answer_s)
    return calls.run((sys.executable, "-c", code), b"input\n", ("n",), limits, barrier=barrier)


def test_a_call_gets_its_input_and_returns_the_last_message() -> None:
    reads = "got = sys.stdin.readline(); print(got, file=sys.stderr); "
    call = run(Calls(1), SAYS_HELLO + reads + says({"ready": 7}) + says({"a": 1}) + "sys.exit(3)")
    assert (call.code, call.stderr) == (3, "input\n\n")
    assert call.replies["n"][0] == {"a": 1}
    assert call.hello_s is not None


def test_nothing_is_sent_without_a_hello() -> None:
    code = "import sys; print('Password:', flush=True); got = sys.stdin.read(); sys.exit(len(got))"
    call = run(Calls(1), code, hello_s=1)
    assert (call.code, call.hello_s, call.greeting) == (None, None, "Password:")


def test_a_login_that_prints_without_an_end_is_given_up() -> None:
    call = run(Calls(1), "while True: print('x' * 1000, end='')", hello_s=1)
    assert (call.code, call.hello_s) == (None, None)


def test_what_was_said_before_the_timeout_is_kept() -> None:
    call = run(Calls(1), SAYS_HELLO + says({"a": 1}) + SLEEPS, answer_s=3)
    assert (call.code, call.replies["n"][0]) == (None, {"a": 1})


def test_the_time_for_the_answer_begins_with_the_hello() -> None:
    code = "import time; time.sleep(2); " + SAYS_HELLO + says({"a": 1})
    call = run(Calls(1), code, answer_s=1.5)
    assert call.replies["n"][0] == {"a": 1}
    assert call.hello_s is not None
    assert call.hello_s >= 2


def test_a_node_that_is_ready_waits_for_the_others() -> None:
    barrier = Barrier({"n": 4, "late": 7})
    found: list[CallResult] = []
    code = (
        SAYS_HELLO + says({"waiting": True}) + "sys.stdin.readline(); go = sys.stdin.readline(); "
    )
    last = "print(go, file=sys.stderr)"
    waiting = threading.Thread(
        target=lambda: found.append(run(Calls(1), code + last, barrier=barrier))
    )
    waiting.start()
    wait_until("the node", lambda: not barrier.awaits_any(("n",)))
    assert not found
    barrier.arrive("late")
    waiting.join(60)
    assert json.loads(found[0].stderr)["go"] == [4, 7]


def test_a_node_that_is_not_ready_in_time_does_not_delay_the_others() -> None:
    barrier = Barrier({"n": 4, "other": 7})
    barrier.arrive("other")
    run(Calls(1), SAYS_HELLO + SLEEPS, ready_s=0.5, answer_s=0.5, barrier=barrier)
    assert barrier.wait() == [7]


def test_closing_ends_calls_that_run_and_later_ones() -> None:
    calls = Calls(1)
    found: list[CallResult] = []
    waiting = threading.Thread(target=lambda: found.append(run(calls, SLEEPS)))
    waiting.start()
    wait_until("the call", lambda: calls._running)
    calls.close()
    waiting.join(60)
    assert [call.code for call in found] == [-9]
    assert run(calls, SLEEPS).code == -9
