"""How mpirun starts its daemons on other nodes without logging in there.

mpirun expects a program like ssh: `agent HOST COMMAND`. Our transport has already started an agent
on every node (`launcher.runtime.mpi_node`), so this program only has to give it the command. It
writes the command to a file of the run folder, which every node sees. No node needs a key for
another one, and it works over ssh and under Slurm.

    python -m launcher.runtime.rsh_agent HOST COMMAND ...

The file is written in place, not renamed, and its reader creates it first: a network file system
then checks for new content whenever it is opened.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import ConfigError
from launcher.runtime.environ import LaunchEnviron
from launcher.specs import RunLayout

__all__ = ["LaunchRequest", "close_all"]

_MODE = 0o600
_CLOSED = ".closed"


@dataclass(frozen=True, kw_only=True)
class LaunchRequest:
    """The file that asks the agent of one node, in one attempt, to start a daemon of MPI."""

    path: Path

    @classmethod
    def of(cls, host: str, launch: LaunchEnviron) -> LaunchRequest:
        return cls(path=_folder(launch) / host)

    def create(self) -> None:
        """Create the file, unless it exists."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, _MODE))

    def send(self, command: Sequence[str]) -> None:
        """Ask the node to run `command`."""
        self.create()  # mpirun may be faster than the node
        with self.path.open("w", encoding="utf-8") as file:
            file.write(json.dumps(list(command)) + "\n")

    def read(self) -> list[str] | None:
        """Return the command; None if there is none yet, an empty list if none will come."""
        text = self.path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            return [] if (self.path.parent / _CLOSED).exists() else None
        command: list[str] = json.loads(text)
        return command


def close_all(launch: LaunchEnviron) -> None:
    """Let every node that has no request yet know that none will come."""
    LaunchRequest.of(_CLOSED, launch).create()


def main(argv: Sequence[str]) -> int:
    """Write a launch request for what an MPI launcher would have ssh run on a host."""
    host, *words = argv
    request = LaunchRequest.of(host, LaunchEnviron.from_environ(os.environ))
    request.send(_split_as_shell(" ".join(words)))  # ssh joins the words as well
    return 0


def _split_as_shell(text: str) -> list[str]:
    reader = shlex.shlex(text, posix=True, punctuation_chars=";&|")
    reader.whitespace_split = True
    reader.commenters = ""
    return list(reader)


def _folder(launch: LaunchEnviron) -> Path:
    if launch.run_dir is None:
        raise ConfigError(
            "`LAUNCHER_RUN_DIR` is not set",
            hint="to run MPI on several nodes, start it with `python -m launcher`",
        )
    return RunLayout(launch.run_dir).attempt(launch.attempt).letters


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
