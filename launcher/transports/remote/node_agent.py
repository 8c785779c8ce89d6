"""The keeper: starts one command on its node, watches it, and never leaves anything behind.

It reads one request from stdin, then messages, each a line of JSON; what it has to say are lines
of JSON on stdout. It ends everything that it started, whoever became its parent meanwhile:

* when it is told to;
* when nothing was heard for `lease_s`, at once: by then the other side has given this node up,
  and may have started the run elsewhere. A node that was frozen finds that out when it thaws;
* when stdin ends, because then the supervisor is gone: the command is asked to leave (SIGTERM),
  and what is left after `grace_s` is killed.

Instead of a command, a request may hold a question: a program whose output is sent back.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36
_LOOK_S = 1.0
"""Between two looks at the clock when nothing else happens."""
_OVERTIME_S = 5.0
"""The command ends its own processes when their grace is over; this much later all are killed."""
_END_WITHIN_S = 10.0
"""A killed process is gone long before, unless it hangs in the kernel."""
_LONGEST_PART = 400
"""Slurm merges the output of all nodes and keeps only lines of 1024 bytes whole; quoting doubles
the length of a part at worst."""

Message = Mapping[str, Any]
_CHILD_ENDED: Message = {"happened": "a child ended"}
_STDIN_ENDED: Message = {"happened": "stdin ended"}
_WE_WERE_ASKED: Message = {"happened": "SIGTERM"}


class Voice:
    """Tells the other side, in the name of this node."""

    def __init__(self, name: str) -> None:
        self.name = name

    def tell(self, **message: object) -> None:
        """Send one message, in as many lines as it takes."""
        text = json.dumps(message)
        parts = [text[at : at + _LONGEST_PART] for at in range(0, len(text), _LONGEST_PART)]
        for number, part in enumerate(parts):
            told = {"node": self.name, "part": part, "number": number, "of": len(parts)}
            # The first newline ends whatever a login script has printed.
            _write(f"\n{json.dumps(told)}\n".encode())


def _write(data: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more: the end of stdin tells that too
        while data:
            data = data[os.write(1, data) :]


class Refused(Exception):
    """The command cannot be started; nothing runs."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind
        self.why = why


class Keeper:
    """One command, from its start to the end of the last process it left."""

    def __init__(
        self, job: Mapping[str, Any], voice: Voice, inbox: queue.SimpleQueue[Message]
    ) -> None:
        self._job = job
        self._voice = voice
        self._inbox = inbox
        self._child = start(job)
        self._heard = _now()
        self._leave_at: float | None = None

    def run(self) -> None:
        """Return when nothing is left of the command."""
        self._voice.tell(started=self._child.pid)
        while True:
            message = self._next()
            self._reap()
            if self._is_over(message):
                break
        self._end_all()

    @property
    def _has_ended(self) -> bool:
        return self._child.returncode is not None

    def _next(self) -> Message | None:
        try:
            return self._inbox.get(timeout=_LOOK_S)
        except queue.Empty:
            return None

    def _is_over(self, message: Message | None) -> bool:
        now = _now()
        if self._leave_at is not None:
            return self._has_ended or now > self._leave_at
        # Before the message is looked at: after a freeze, it may be one from before the freeze.
        if now - self._heard > self._job["lease_s"]:
            return True
        if message is _STDIN_ENDED:
            self._leave_at = now + self._job["grace_s"] + _OVERTIME_S
            self._signal(signal.SIGTERM)
            return self._has_ended
        if message is _WE_WERE_ASKED:
            self._signal(signal.SIGTERM)
        elif message is not None and message is not _CHILD_ENDED:
            self._heard = now
            return message["to"] in (None, self._voice.name) and self._obey(message)
        return False

    def _obey(self, message: Message) -> bool:
        if "signal" in message:
            self._signal(message["signal"])
        if "ping" in message:
            self._voice.tell(beat=True)
        return "kill" in message

    def _signal(self, number: int) -> None:
        # Until we have waited for it, its id cannot become another's.
        if not self._has_ended:
            os.kill(self._child.pid, number)

    def _reap(self) -> None:
        """Collect whatever has ended: the command, and orphans that became our children."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._child.pid:
                    self._child.returncode = os.waitstatus_to_exitcode(status)
                    self._voice.tell(exit=self._child.returncode)

    def _end_all(self) -> None:
        deadline = _now() + _END_WITHIN_S
        while (left := descendants(os.getpid())) and _now() < deadline:
            for pid, born in left.items():
                kill(pid, born)
            time.sleep(0.01)
            self._reap()
        self._reap()
        self._voice.tell(left=list(left))


def start(job: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own, with its output appended to the log."""
    try:
        log = os.open(job["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError as error:
        raise Refused("log", str(error.strerror)) from None
    try:
        if not Path(job["cwd"]).is_dir():
            raise Refused("folder", "no such folder")
        return subprocess.Popen(
            job["argv"],
            cwd=job["cwd"],
            env={**environment(job), "LAUNCHER_PARENT_PID": str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    except OSError as error:
        raise Refused("program", str(error.strerror)) from None
    finally:
        os.close(log)


def environment(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of this login, with what came along on top.

    A bare login knows nothing of the programs that belong to the interpreter.
    """
    unwanted = tuple(job["without"])
    own = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    own["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), own.get("PATH", os.defpath)))
    return {**own, **job["env"]}


def answer(job: Mapping[str, Any], voice: Voice) -> None:
    """Run the program of a question and send what it prints."""
    child = subprocess.Popen(
        (sys.executable, "-c", job["bootstrap"]),
        env=environment(job),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    asked = job["source"].encode() + json.dumps(job["request"]).encode()
    try:
        said, complained = child.communicate(asked, timeout=job["timeout_s"])
    except subprocess.TimeoutExpired:
        voice.tell(late=True)
    else:
        voice.tell(
            said=said.decode(errors="replace"),
            complained=complained.decode(errors="replace"),
            code=child.returncode,
        )
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def descendants(root: int) -> dict[int, str]:
    """Return all living processes below `root`, each with the time of its birth."""
    born: dict[int, str] = {}
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names are all that is needed, and fast
        stat = _stat(int(entry)) if entry.isdigit() else None
        if stat is not None:
            children.setdefault(int(stat[1]), []).append(int(entry))
            if stat[0] not in "ZX":
                born[int(entry)] = stat[19]
    found: list[int] = []
    below = [root]
    while below:
        next_ones = children.get(below.pop(), [])
        below += next_ones
        found += next_ones
    return {pid: born[pid] for pid in found if pid in born}


def kill(pid: int, born: str) -> None:
    """Kill `pid` if it still is the process that was born then."""
    stat = _stat(pid)
    if stat is not None and stat[19] == born:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _stat(pid: int) -> list[str] | None:
    """Return the fields of a process from its state on, or None when it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command's name may hold spaces and parentheses: count from its end.
    return text.rpartition(")")[2].split()


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # goes on while the machine sleeps


def _listen(inbox: queue.SimpleQueue[Message]) -> None:
    for line in sys.stdin.buffer:
        inbox.put(json.loads(line))
    inbox.put(_STDIN_ENDED)


def _keep(job: Mapping[str, Any], voice: Voice) -> None:
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    # Handlers, not SIG_IGN: that the command would inherit.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        # Slurm sends a signal to every process of a step: the command has got it too.
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: inbox.put(_WE_WERE_ASKED))
    signal.signal(signal.SIGCHLD, lambda *_: inbox.put(_CHILD_ENDED))
    # Orphans become our children: so nothing that the command starts can leave its tree.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        keeper = Keeper(job, voice, inbox)
    except Refused as refused:
        voice.tell(failed=refused.kind, why=refused.why)
        return
    threading.Thread(target=_listen, args=(inbox,), daemon=True).start()
    keeper.run()


def main() -> None:
    """Do what the request asks for."""
    os.chdir("/")
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return  # whoever wanted something has gone
    request = json.loads(line)
    name = request["name"] or os.environ.get("SLURMD_NODENAME", "")
    voice = Voice(name)
    voice.tell(here=os.getpid())
    job = {**request["common"], **request["jobs"].get(name, {})}
    if name not in request["jobs"]:
        voice.tell(failed="name", why=f"it calls itself `{name}`")
    elif "source" in job:
        answer(job, voice)
    else:
        _keep(job, voice)


if __name__ == "__main__":
    main()
    # The thread that listens holds stdin's lock, at which an ordinary end would stumble.
    os._exit(0)
