"""An ssh server of our own on 127.0.0.1, for the user that runs the tests, root or not."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
_READY_WITHIN_S = 30


def why_not() -> str:
    """Return why there can be no server here, or nothing."""
    if _SSHD is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        return "needs OpenSSH: apt-get install --no-install-recommends openssh-server"
    return ""


class LoopbackSshd:
    """A server, and a folder with an `ssh` that finds it under any of `names`.

    The names are no addresses of this machine: so nothing takes the way without ssh.
    """

    def __init__(self, folder: Path, names: Sequence[str], extra: str = "") -> None:
        self._folder = folder
        self._names = names
        self._extra = extra
        self.port = _free_port()

    @property
    def bin(self) -> Path:
        """Put it first on PATH."""
        return self._folder / "bin"

    @property
    def config(self) -> Path:
        """What stands in for the user's own configuration."""
        return self._folder / "ssh_config"

    @property
    def server(self) -> subprocess.Popen[bytes]:
        return self._server

    def __enter__(self) -> Self:
        self._write()
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # a root server insists on it
        assert _SSHD is not None
        with (self._folder / "sshd.log").open("w") as log:
            self._server = subprocess.Popen(
                (_SSHD, "-D", "-e", "-f", self._folder / "sshd_config"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _READY_WITHIN_S
        while not self._answers():
            if time.monotonic() > deadline or self._server.poll() is not None:
                raise RuntimeError((self._folder / "sshd.log").read_text())
            time.sleep(0.02)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.kill()
        self._server.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _write(self) -> None:
        folder = self._folder
        folder.mkdir(exist_ok=True)
        for name in ("host_key", "user_key"):
            subprocess.run(
                ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name), check=True
            )
        (folder / "authorized_keys").write_text((folder / "user_key.pub").read_text())
        host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
        (folder / "known_hosts").write_text(f"loopback {host_key}\n")
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {folder}/host_key\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nPidFile none\nStrictModes no\n"
            f"UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n{self._extra}"
        )
        self.config.write_text(
            f"Host {' '.join(self._names)}\n  HostName 127.0.0.1\n  Port {self.port}\n"
            f"  User {getpass.getuser()}\n  IdentityFile {folder}/user_key\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {folder}/known_hosts\n  HostKeyAlias loopback\n"
            "  StrictHostKeyChecking yes\n"
        )
        self.bin.mkdir(exist_ok=True)
        ssh = self.bin / "ssh"
        # ssh finds the user's configuration by the user, not by HOME.
        ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{self.config}" "$@"\n')
        ssh.chmod(0o755)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
