"""Ends, or signals, the processes of a run on the node where this runs; a question for `ask`.

A process belongs to a run when it was started with the run's id and folder in its environment.
The name of a program proves nothing, and neither does a process id that may be another's by now.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

_END_WITHIN_S = 5.0


def main() -> None:
    """Answer one request: `run_id`, `run_dir`, and `signal` with `pids` to end nothing."""
    request = json.load(sys.stdin)
    wanted = {
        b"LAUNCHER_RUN_ID=" + request["run_id"].encode(),
        b"LAUNCHER_RUN_DIR=" + os.fsencode(request["run_dir"]),
    }
    number = request.get("signal")
    pids = end(wanted) if number is None else send(request["pids"], number, wanted)
    print(json.dumps({"pids": pids}))  # noqa: T201 - this is how a question is answered


def end(wanted: set[bytes]) -> list[int]:
    """Kill every process of the run and wait for their end; return which there were."""
    ended: set[int] = set()
    deadline = time.monotonic() + _END_WITHIN_S
    while (left := _processes_of(wanted)) and time.monotonic() < deadline:
        ended.update(send(left, signal.SIGKILL, wanted))
        time.sleep(0.02)
    return sorted(ended)


def send(pids: Iterable[int], number: int, wanted: set[bytes]) -> list[int]:
    """Signal those of `pids` that belong to the run; return which did."""
    reached = []
    for pid in pids:
        # At once after the look: the id cannot become another's within these few instructions.
        if _belongs(pid, wanted):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                reached.append(pid)
    return reached


def _processes_of(wanted: set[bytes]) -> list[int]:
    own = _own_line()
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if pid not in own and _belongs(pid, wanted)]


def _belongs(pid: int, wanted: set[bytes]) -> bool:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another user's
        return False
    return wanted <= set(variables)  # a zombie's environment is empty


def _own_line() -> set[int]:
    """Return this process and its ancestors: one of the run's ranks may have started us."""
    line: set[int] = set()
    pid = os.getpid()
    while pid > 1 and pid not in line:
        line.add(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            break
        pid = int(stat.rpartition(")")[2].split()[1])
    return line


if __name__ == "__main__":
    main()
