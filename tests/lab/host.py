"""One host seen from this machine: a process tree to enter, freeze, kill and boot."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from tests.lab.commands import SYSTEM_PATH, LabError, command, wait_until
from tests.lab.init import USER, USER_ID, Settings
from tests.lab.records import ProcessId

REPOSITORY = Path(__file__).parents[2]
User = Literal["root", "trainer"]
FULL_DISK = "lab-full-disk"
_SSH_PORT = 22
_READY_WITHIN_S = 60
_ENTERED_WITHIN_S = 30


class Process(NamedTuple):
    """A process; the id is that inside its host."""

    pid: int
    command: str


class HostProcess(subprocess.Popen[str]):
    """A process in a host. Signals go to it, not to its `nsenter`."""

    output: Path

    @property
    def leader(self) -> int | None:
        """The id on this machine of the process in the host, which leads a session there."""
        return next(iter(_children(self.pid)), None) if self.returncode is None else None

    def send_signal(self, sig: int) -> None:
        if (leader := self.wait_until_entered()) is not None:
            _send(leader, sig)

    def kill_tree(self) -> None:
        """Kill it and all its descendants, in any session."""
        if (leader := self.wait_until_entered()) is not None:
            for pid in _tree(leader):
                _send(pid, signal.SIGKILL)

    def wait_until_entered(self) -> int | None:
        """Wait until it is in the host, and return its `leader`; None if it has already ended."""
        wait_until(
            "a process to enter its host",
            lambda: self.leader is not None or self.poll() is not None,
            _ENTERED_WITHIN_S,
        )
        return self.leader


class Host:
    """One host. Its state is in its folder, so that another process can use it, too."""

    def __init__(self, settings: Settings, namespace: Path) -> None:
        self.settings = settings
        self._namespace = namespace
        self._starter: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return self.settings.host

    @property
    def address(self) -> str:
        return self.settings.addresses[self.name]

    @property
    def first(self) -> ProcessId | None:
        """Process 1 of the host, with its id on this machine; None if the host is down."""
        if (starter := self._known_starter()) is None or not (pids := _children(starter.pid)):
            return None
        return _identify(pids[0])

    def boot(self) -> None:
        """Start the host. It is ready when `wait_until_ready` returns."""
        if self.first is not None:
            raise LabError(f"{self.name} is up already")
        folder = self.settings.folder
        (folder / "local").mkdir(parents=True, exist_ok=True)
        self.settings.write(folder / "settings.json")
        new = ("--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=KILL")
        init = (sys.executable, "-m", "tests.lab.init", folder / "settings.json")
        with (folder / "boot.log").open("w") as log:
            self._starter = subprocess.Popen(
                ("nsenter", f"--net={self._namespace}",
                 "unshare", *new, "--propagation", "private", *init),
                cwd=REPOSITORY,
                env={"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )  # fmt: skip
        (folder / "starter.json").write_text(json.dumps(vars(ProcessId.of(self._starter.pid))))

    def wait_until_ready(self) -> None:
        try:
            wait_until(f"sshd on {self.name}", self._answers, _READY_WITHIN_S)
        except LabError as error:
            raise LabError(f"{error}\n{(self.settings.folder / 'boot.log').read_text()}") from None

    def kill(self) -> None:
        """Kill all processes of the host. Files outside /local and /shared are lost."""
        ids = [each for each in (self.first, self._known_starter()) if each is not None]
        outside = self._parents_outside()
        for each in ids:
            _send(each.pid, signal.SIGKILL)
        # The `nsenter`s that stopped when the host was frozen must notice its end.
        self._send_to_all(outside, signal.SIGCONT)
        # The first process ends only after all others of its namespace.
        wait_until(
            f"the end of {self.name}", lambda: not any(each.alive for each in ids), _READY_WITHIN_S
        )
        if self._starter is not None:
            self._starter.wait()

    def freeze(self) -> None:
        """Stop every process, and wait until the `nsenter`s outside stop as well."""
        members = self._members()
        while self._send_to_all(members, signal.SIGSTOP):  # processes started in the meantime
            members = [pid for pid in self._members() if _state(pid) not in "TtZ"]
        outside = [pid for pid in self._parents_outside() if _name(pid) == "nsenter"]
        wait_until(
            f"{self.name} to stop",
            lambda: all(_state(pid) in "TZ" for pid in outside),
            _READY_WITHIN_S,
        )

    def thaw(self) -> None:
        self._send_to_all([*self._parents_outside(), *self._members()], signal.SIGCONT)

    def processes(self, environ: str | None) -> list[Process]:
        """Return the processes of the host; with `environ`, those with this NAME=value."""
        return [
            Process(_pid_inside(pid), words)
            for pid in self._members()
            if (words := _read(pid, "cmdline").replace("\0", " ").strip())
            and (environ is None or environ in _read(pid, "environ").split("\0"))
        ]

    def enter(self, words: Sequence[str], cwd: str, user: User) -> list[str]:
        """Return the command line that runs `words` in the host, as leader of a new session."""
        if (first := self.first) is None:
            raise LabError(f"{self.name} is down")
        identity = (f"--setuid={USER_ID}", f"--setgid={USER_ID}") if user == USER else ()
        # The option --wd of nsenter would use the folder of this machine.
        spaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--root")
        there = ("sh", "-c", 'cd "$0" && exec setsid "$@"', cwd, *words)
        return ["nsenter", f"--target={first.pid}", *spaces, *identity, *there]

    def start(
        self,
        words: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        user: User,
        stdout: Path | None,
    ) -> HostProcess:
        """Start `words`; without `stdout`, output and errors go to two pipes."""
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(stdout.open("a")) if stdout else subprocess.PIPE
            return HostProcess(
                self.enter(words, cwd, user),
                env={**environ_of(user), **env},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT if stdout else subprocess.PIPE,
                text=True,
                start_new_session=True,
            )

    def fill_disk(self, path: str, size: int) -> None:
        self._as_root("mkdir", "-p", path)
        self._as_root("mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", FULL_DISK, path)

    def empty_disks(self) -> None:
        if (first := self.first) is None:
            return
        for line in _read(first.pid, "mounts").splitlines():
            device, path, *_ = line.split()
            if device == FULL_DISK:
                self._as_root("umount", "--lazy", path)

    def share_read_only(self, read_only: bool) -> None:
        self._as_root("mount", "-o", f"remount,bind,{'ro' if read_only else 'rw'}", "/shared")

    def _as_root(self, *words: str) -> None:
        command(*self.enter(words, "/", "root"))

    def _known_starter(self) -> ProcessId | None:
        """The `unshare` process that made the host and ends with it."""
        try:
            starter = ProcessId(**json.loads((self.settings.folder / "starter.json").read_text()))
        except FileNotFoundError:
            return None
        return starter if starter.alive else None

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, _SSH_PORT), timeout=1) as connection:
                connection.settimeout(5)
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _members(self) -> list[int]:
        """Return the processes of the host, with their ids on this machine."""
        if (first := self.first) is None:
            return []
        space = _namespace(first.pid)
        pids = (int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal())
        return [pid for pid in pids if _namespace(pid) == space]

    def _parents_outside(self) -> list[int]:
        members = set(self._members())
        return sorted({_parent(pid) for pid in members} - members - {0})

    def _send_to_all(self, pids: Sequence[int], sig: signal.Signals) -> bool:
        for pid in pids:
            _send(pid, sig)
        return bool(pids)


def environ_of(user: User) -> dict[str, str]:
    """Return the environment after a login, with our Python environment activated."""
    return {
        "PATH": f"{sys.prefix}/bin:{SYSTEM_PATH}",
        "HOME": "/root" if user == "root" else f"/home/{user}",
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
    }


def _send(pid: int, sig: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.kill(pid, sig)


def _identify(pid: int) -> ProcessId | None:
    try:
        return ProcessId.of(pid)
    except OSError:
        return None


def _read(pid: int, name: str) -> str:
    """Return a file of /proc, or an empty string if the process has ended or is hidden."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:  # it has ended, or a sandbox hides it
        return None


def _status(pid: int, field: str) -> list[str]:
    lines = _read(pid, "status").splitlines()
    return next((line.split()[1:] for line in lines if line.startswith(f"{field}:")), [])


def _state(pid: int) -> str:
    return next(iter(_status(pid, "State")), "Z")


def _name(pid: int) -> str:
    return _read(pid, "comm").strip()


def _parent(pid: int) -> int:
    return int(next(iter(_status(pid, "PPid")), "0"))


def _pid_inside(pid: int) -> int:
    return int(next(reversed(_status(pid, "NSpid")), "0"))


def _tree(pid: int) -> list[int]:
    return [pid, *(below for child in _children(pid) for below in _tree(child))]


def _children(pid: int) -> list[int]:
    return [int(child) for child in _read(pid, f"task/{pid}/children").split()]
