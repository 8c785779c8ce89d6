"""The node agent: runs one command on its node, and never leaves anything of it behind.

It reads one request from stdin, then messages, each a line of JSON; it writes lines of JSON to
stdout. It ends everything that the command started, whatever became of the parents:

* when a message asks for it;
* when it has received nothing for `lease_s`, immediately: by then the supervisor counts this node
  as lost, and may have started the run elsewhere. A frozen node notices that when it thaws;
* when stdin ends, because then the supervisor is gone: the command gets SIGTERM, and what is left
  after `grace_s` is killed.

Instead of a command, a request may have a question: a program whose output is sent back. The
programs of several nodes may wait for each other first.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 1.0
"""Between two looks at the clock if nothing else happens."""
_OVERTIME_S = 5.0
"""The command ends its own processes when their grace period is over; this much later, we do."""
_END_WITHIN_S = 10.0
"""A killed process ends long before, unless it hangs in the kernel."""
_LONGEST_PART = 400
"""Slurm merges the output of all nodes, and keeps only lines up to 1024 bytes whole. Quoting can
double the length of a part."""

Message = Mapping[str, Any]
_CHILD_ENDED: Message = {"happened": "a child ended"}
_STDIN_ENDED: Message = {"happened": "stdin ended"}
_SIGTERM: Message = {"happened": "SIGTERM"}


class MessageWriter:
    """Sends messages in the name of this node."""

    def __init__(self, name: str) -> None:
        self.name = name

    def send(self, **message: object) -> None:
        """Send one message, in as many lines as it needs."""
        text = json.dumps(message)
        parts = [text[at : at + _LONGEST_PART] for at in range(0, len(text), _LONGEST_PART)]
        for number, part in enumerate(parts):
            line = {"node": self.name, "part": part, "number": number, "of": len(parts)}
            # The first newline ends whatever a login script has printed.
            _write(f"\n{json.dumps(line)}\n".encode())


def _write(data: bytes) -> None:
    with contextlib.suppress(OSError):  # the reader has gone; stdin ends then, too
        while data:
            data = data[os.write(1, data) :]


class CannotStart(Exception):
    """The command cannot be started; nothing runs."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind
        self.why = why


class NodeAgent:
    """Runs one command, and ends every process that it leaves."""

    def __init__(
        self, job: Mapping[str, Any], writer: MessageWriter, inbox: queue.SimpleQueue[Message]
    ) -> None:
        self._job = job
        self._writer = writer
        self._inbox = inbox
        self._child = start(job)
        self._last_message = _now()
        self._kill_at: float | None = None

    def run(self) -> None:
        """Return when no process of the command is left."""
        self._writer.send(started=self._child.pid)
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
            return self._inbox.get(timeout=_POLL_S)
        except queue.Empty:
            return None

    def _is_over(self, message: Message | None) -> bool:
        now = _now()
        if self._kill_at is not None:
            return self._has_ended or now > self._kill_at
        # Checked before the message: after a freeze, that may be an old one.
        if now - self._last_message > self._job["lease_s"]:
            return True
        if message is _STDIN_ENDED:
            self._kill_at = now + self._job["grace_s"] + _OVERTIME_S
            self._signal(signal.SIGTERM)
            return self._has_ended
        if message is _SIGTERM:
            self._signal(signal.SIGTERM)
        elif message is not None and message is not _CHILD_ENDED:
            self._last_message = now
            return message["to"] in (None, self._writer.name) and self._obey(message)
        return False

    def _obey(self, message: Message) -> bool:
        if "signal" in message:
            self._signal(message["signal"])
        if "ping" in message:
            self._writer.send(heartbeat=True)
        return "kill" in message

    def _signal(self, number: int) -> None:
        # Its id cannot be reused before we have waited for it.
        if not self._has_ended:
            os.kill(self._child.pid, number)

    def _reap(self) -> None:
        """Wait for whatever has ended: the command, and orphans that became our children."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._child.pid:
                    self._child.returncode = os.waitstatus_to_exitcode(status)
                    self._writer.send(exit=self._child.returncode)

    def _end_all(self) -> None:
        deadline = _now() + _END_WITHIN_S
        while (left := descendants(os.getpid())) and _now() < deadline:
            for pid, born in left.items():
                kill(pid, born)
            time.sleep(0.01)
            self._reap()
        self._reap()
        self._writer.send(left=list(left))


def start(job: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own; its output is appended to the log."""
    try:
        log = os.open(job["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError as error:
        raise CannotStart("log", str(error.strerror)) from None
    try:
        if not Path(job["cwd"]).is_dir():
            raise CannotStart("folder", "no such folder")
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
        raise CannotStart("program", str(error.strerror)) from None
    finally:
        os.close(log)


def environment(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of this login, with that of the job on top.

    The search path of a login does not have the programs that belong to the interpreter.
    """
    removed = tuple(job["without"])
    own = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    own["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), own.get("PATH", os.defpath)))
    return {**own, **job["env"]}


def answer(job: Mapping[str, Any], writer: MessageWriter) -> None:
    """Run the program of a question and send what it prints."""
    child = subprocess.Popen(
        (sys.executable, "-c", job["bootstrap"]),
        env=environment(job),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # `communicate` must see all that follows the first line
        start_new_session=True,
    )
    request = job["source"].encode() + json.dumps(job["request"]).encode() + b"\n"
    alone = job["ready_within_s"] is None
    data = request if alone else _wait_for_others(child, request, job, writer)
    writer.send(**_result(child, data, job["timeout_s"]))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _result(child: subprocess.Popen[bytes], data: bytes | None, timeout_s: float) -> Message:
    if data is None:
        return {"late": True}
    try:
        stdout, stderr = child.communicate(data, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return {"late": True}
    return {
        "stdout": stdout.decode(errors="replace"),
        "stderr": stderr.decode(errors="replace"),
        "code": child.returncode,
    }


def _wait_for_others(
    child: subprocess.Popen[bytes], request: bytes, job: Mapping[str, Any], writer: MessageWriter
) -> bytes | None:
    """Return what the program has to read when all nodes are ready, None if that is too late.

    The program prints a line when it is ready. It gets the ranks of the nodes that are.
    """
    assert child.stdin is not None
    assert child.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended: its messages say why
        child.stdin.write(request)
    if not select.select([child.stdout], [], [], job["ready_within_s"])[0]:
        return None
    if not child.stdout.readline():
        return b""  # it has ended
    writer.send(waiting=True)
    if not select.select([sys.stdin], [], [], job["all_ready_within_s"])[0]:
        return None
    line = sys.stdin.buffer.readline()
    return f"{json.dumps(json.loads(line)['go'])}\n".encode() if line else None


def descendants(root: int) -> dict[int, str]:
    """Return all live processes below `root`: id -> start time."""
    born: dict[int, str] = {}
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names are all that is needed, and fast
        stat = _stat(int(entry)) if entry.isdigit() else None
        if stat is not None:
            children.setdefault(int(stat[1]), []).append(int(entry))
            if stat[0] not in "ZX":
                born[int(entry)] = stat[19]
    below: list[int] = []
    parents = [root]
    while parents:
        next_ones = children.get(parents.pop(), [])
        parents += next_ones
        below += next_ones
    return {pid: born[pid] for pid in below if pid in born}


def kill(pid: int, born: str) -> None:
    """Kill `pid` if it still is the process with this start time."""
    stat = _stat(pid)
    if stat is not None and stat[19] == born:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on, or None if it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name of the command may contain spaces and parentheses: count from its end.
    return text.rpartition(")")[2].split()


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # it also counts while the machine sleeps


def _listen(inbox: queue.SimpleQueue[Message]) -> None:
    for line in sys.stdin.buffer:
        inbox.put(json.loads(line))
    inbox.put(_STDIN_ENDED)


def _run_command(job: Mapping[str, Any], writer: MessageWriter) -> None:
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    # Handlers, not SIG_IGN, which the command would inherit.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        # Slurm signals every process of a step, so the command gets it as well.
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: inbox.put(_SIGTERM))
    signal.signal(signal.SIGCHLD, lambda *_: inbox.put(_CHILD_ENDED))
    # Orphans become our children, so no process of the command can leave our tree.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        agent = NodeAgent(job, writer, inbox)
    except CannotStart as error:
        writer.send(failed=error.kind, why=error.why)
        return
    threading.Thread(target=_listen, args=(inbox,), daemon=True).start()
    agent.run()


def _undo_start_files(job: Mapping[str, Any]) -> None:
    """Undo what a login may have set for all processes that it starts."""
    os.umask(job["umask"])
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # those are Python's
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def main() -> None:
    """Do the job of the request."""
    os.chdir("/")
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return  # the other side has gone
    request = json.loads(line)
    name = request["name"] or os.environ.get("SLURMD_NODENAME", "")
    writer = MessageWriter(name)
    writer.send(ready=os.getpid())
    job = {**request["common"], **request["jobs"].get(name, {})}
    _undo_start_files(job)
    if name not in request["jobs"]:
        writer.send(failed="name", why=f"this node is called `{name}`")
    elif "source" in job:
        answer(job, writer)
    else:
        _run_command(job, writer)


if __name__ == "__main__":
    main()
    # A normal exit would wait for the lock of stdin, which the listening thread holds.
    os._exit(0)
