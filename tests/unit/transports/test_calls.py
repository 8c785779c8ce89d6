from __future__ import annotations

import sys
import threading

from launcher.transports.calls import Errand, Errands
from tests.unit.transports.conftest import wait_until


def run(errands: Errands, code: str, *, timeout_s: float = 60) -> Errand:
    return errands.run((sys.executable, "-c", code), b"input", timeout_s=timeout_s)


def test_an_errand_gets_its_input_and_brings_all_it_said_and_complained_of() -> None:
    code = "import sys; print(sys.stdin.read()); sys.exit('complaint')"
    errand = run(Errands(), code)
    assert errand == Errand(code=1, output=b"input\n", words="complaint\n")


def test_what_was_said_before_the_time_was_over_is_kept() -> None:
    code = "import time; print('first', flush=True); time.sleep(600)"
    errand = run(Errands(), code, timeout_s=3)
    assert (errand.code, errand.output) == (None, b"first\n")


def test_closing_ends_errands_that_are_on_their_way_and_later_ones() -> None:
    errands = Errands()
    found: list[Errand] = []
    waiting = threading.Thread(
        target=lambda: found.append(run(errands, "import time; time.sleep(600)", timeout_s=600))
    )
    waiting.start()
    wait_until("the errand", lambda: errands._running)
    errands.close()
    waiting.join(60)
    assert [errand.code for errand in found] == [-9]
    assert run(errands, "import time; time.sleep(600)", timeout_s=600).code == -9
