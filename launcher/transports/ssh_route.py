"""How to reach a node: the ssh command line, one connection per node, or no ssh at all."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from launcher.errors import PreflightError
from launcher.specs import Node

__all__ = ["Routes"]

_CONNECT_WITHIN_S = 10
_MISSES = 3
_PERSIST_S = 60
"""How long an idle connection outlives this process if it is killed before `close`."""
_LONGEST_FOLDER = 60
"""The path of a socket may have 104 bytes, and ssh adds 17 while it connects."""
_END_WITHIN_S = 5.0
_SSH_PORT = "22"


class Routes:
    """Command lines to nodes; all to one node share one connection."""

    def __init__(self, lost_after_s: float) -> None:
        self._alive_s = max(1, int(lost_after_s / _MISSES))
        self._folder: Path | None = None
        self._closed = False
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._routes: dict[Node, tuple[str, ...]] = {}
        self._sockets: dict[Path, Node] = {}

    def argv(self, node: Node, argv: Sequence[str]) -> tuple[str, ...]:
        """Return what runs `argv` on `node`; only here is a command quoted for ssh.

        Raises:
            PreflightError: this machine has no ssh, or `close` was called.
        """
        if self._closed:
            raise PreflightError("the connections were closed", hint="start the command again")
        route = self._routes.get(node)
        if route is None:
            route = self._routes[node] = self._find(node)
        return (*route, f"exec {shlex.join(argv)}") if route else tuple(argv)

    def close(self) -> None:
        """End the connections."""
        with self._lock:
            sockets, self._sockets = self._sockets, {}
            self._closed = True
        if sockets:
            with ThreadPoolExecutor(min(16, len(sockets))) as pool:
                list(pool.map(_end_connection, *zip(*sockets.items(), strict=True)))
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _find(self, node: Node) -> tuple[str, ...]:
        settings = _settings(node)
        if _is_here(settings):
            return ()
        return (
            "ssh",
            "-T",
            "-x",
            *_port(node),
            *self._options(node, settings),
            "--",
            node.ssh_destination,
        )

    def _options(self, node: Node, settings: Mapping[str, str]) -> list[str]:
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": str(_CONNECT_WITHIN_S),
            "ServerAliveInterval": str(self._alive_s),
            "ServerAliveCountMax": str(_MISSES),
            # Settings that suit a person's own session would make ours fail or hang.
            "ClearAllForwardings": "yes",
            "RemoteCommand": "none",
            "LogLevel": "INFO",
        }
        if settings.get("controlpath", "none") == "none":
            # Otherwise the user shares connections already, perhaps because of a second factor.
            options |= {
                "ControlMaster": "auto",
                "ControlPath": str(self._socket(node)),
                "ControlPersist": str(_PERSIST_S),
            }
        return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]

    def _socket(self, node: Node) -> Path:
        with self._lock:
            if self._folder is None:
                self._folder = _private_folder()
            socket_path = self._folder / str(next(self._numbers))
            self._sockets[socket_path] = node
        return socket_path


def _private_folder() -> Path:
    usual = tempfile.gettempdir()
    return Path(
        tempfile.mkdtemp(prefix="launcher-", dir=usual if len(usual) < _LONGEST_FOLDER else "/tmp")  # noqa: S108
    )


def _port(node: Node) -> tuple[str, ...]:
    return ("-p", str(node.ssh_port)) if node.ssh_port else ()


def _settings(node: Node) -> dict[str, str]:
    """Return the settings of ssh for this destination, with the user's configuration."""
    try:
        done = subprocess.run(
            ("ssh", "-G", *_port(node), "--", node.ssh_destination),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise PreflightError(
            "this machine has no `ssh`",
            hint="install it (Debian: apt install openssh-client), or use cluster=local",
        ) from None
    lines = (line.partition(" ") for line in done.stdout.splitlines())
    return {name: value for name, _, value in lines}


def _is_here(settings: Mapping[str, str]) -> bool:
    """Return whether a login would lead to this machine, as this user."""
    if settings.get("port") != _SSH_PORT or settings.get("user") != _own_name():
        return False
    if {"proxyjump", "proxycommand"} & {n for n, v in settings.items() if v != "none"}:
        return False
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo(settings["hostname"], None, type=socket.SOCK_DGRAM)
        return any(_is_own(family, address[0]) for family, _, _, _, address in found)
    return False


def _own_name() -> str | None:
    """Return our user name as ssh finds it: it does not read `USER` either."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return None


def _is_own(family: int, address: str | int) -> bool:
    with socket.socket(family, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.bind((address, 0))  # only an address of this machine can be bound
        return True
    return False


def _end_connection(socket_path: Path, node: Node) -> None:
    if not socket_path.exists():
        return
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            (
                "ssh",
                "-o",
                f"ControlPath={socket_path}",
                "-O",
                "exit",
                *_port(node),
                "--",
                node.ssh_destination,
            ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_END_WITHIN_S,
            check=False,
        )
