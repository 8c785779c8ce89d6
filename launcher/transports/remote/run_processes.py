"""Ends or signals the processes of a run on the machine where it runs; a question for `ask`.

The supervisor also imports it for its own host. A process belongs to a run if it was started with
the run's id and folder in its environment. The name of a program proves nothing, and a process id
may belong to another process by now.
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
    """Answer one request: `run_id` and `run_dir`, with `signal` and `pids` to only signal those."""
    request = json.load(sys.stdin)
    wanted = marks(request["run_id"], request["run_dir"])
    number = request.get("signal")
    pids = end(wanted) if number is None else send(request["pids"], number, wanted)
    print(json.dumps({"pids": pids}))  # noqa: T201 - this is how a question is answered


def marks(run_id: str, run_dir: str) -> set[bytes]:
    """Return the environment variables that every process of the run has."""
    return {
        b"LAUNCHER_RUN_ID=" + run_id.encode(),
        b"LAUNCHER_RUN_DIR=" + os.fsencode(run_dir),
    }


def find(wanted: set[bytes]) -> list[int]:
    """Return the ids of all live processes of the run, except for this one and its ancestors."""
    own = _own_line()
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if pid not in own and _belongs(pid, wanted)]


def end(wanted: set[bytes]) -> list[int]:
    """Kill every process of the run and wait for its end; return the ids."""
    ended: set[int] = set()
    deadline = time.monotonic() + _END_WITHIN_S
    while (left := find(wanted)) and time.monotonic() < deadline:
        ended.update(send(left, signal.SIGKILL, wanted))
        time.sleep(0.02)
    return sorted(ended)


def send(pids: Iterable[int], number: int, wanted: set[bytes]) -> list[int]:
    """Send a signal to those of `pids` that belong to the run; return the ones that got it."""
    return [pid for pid in pids if _send(pid, number, wanted)]


def _send(pid: int, number: int, wanted: set[bytes]) -> bool:
    handle = _open(pid)
    try:
        # Checked while we hold the handle: the process with this id now is the one that we signal.
        if not _belongs(pid, wanted):
            return False
        if handle is None:
            os.kill(pid, number)
        else:
            signal.pidfd_send_signal(handle, number)
    except OSError:  # it has ended
        return False
    else:
        return True
    finally:
        if handle is not None:
            os.close(handle)


def _open(pid: int) -> int | None:
    """Return a handle that refers to this process even after its id is reused.

    Linux has them since 5.3, and some builds of Python lack the function.
    """
    with contextlib.suppress(AttributeError, OSError):
        return os.pidfd_open(pid)
    return None


def _belongs(pid: int, wanted: set[bytes]) -> bool:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or belongs to another user
        return False
    return wanted <= set(variables)  # the environment of a zombie is empty


def _own_line() -> set[int]:
    """Return this process and its ancestors: a rank of the run may have started us."""
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
