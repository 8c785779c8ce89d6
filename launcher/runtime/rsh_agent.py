"""How an MPI launcher starts its daemons on other nodes without logging in there.

mpirun wants a program like ssh: `agent HOST COMMAND`. Our own transport has started something on
every node already (`launcher.runtime.mpi_node`), so all that is left to do is to tell it the
command. It is put into a file of the run folder, which every node sees: so no node needs a key for
another one, and the same works over ssh and under Slurm.

    python -m launcher.runtime.rsh_agent HOST COMMAND ...

is that program. The file is written in place and not renamed, and the receiver made it before: a
network file system then looks at it anew whenever it is opened.
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

__all__ = ["Letterbox", "close_all"]

_MODE = 0o600
_CLOSED = ".closed"


@dataclass(frozen=True, kw_only=True)
class Letterbox:
    """The file through which one node of one attempt is told what to run."""

    path: Path

    @classmethod
    def of(cls, host: str, launch: LaunchEnviron) -> Letterbox:
        return cls(path=_folder(launch) / host)

    def open(self) -> None:
        """Make it, unless it is there already."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, _MODE))

    def post(self, command: Sequence[str]) -> None:
        """Tell the node to run `command`."""
        self.open()  # the node may be slower than mpirun
        with self.path.open("w", encoding="utf-8") as file:
            file.write(json.dumps(list(command)) + "\n")

    def read(self) -> list[str] | None:
        """Return the command, nothing if there will be none, or None as long as there is none."""
        text = self.path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            return [] if (self.path.parent / _CLOSED).exists() else None
        command: list[str] = json.loads(text)
        return command


def close_all(launch: LaunchEnviron) -> None:
    """Tell all nodes that were told nothing so far, and those still to come, that nothing will."""
    Letterbox.of(_CLOSED, launch).open()


def main(argv: Sequence[str]) -> int:
    """Take what an MPI launcher would have ssh run on a host, and leave it in the host's box."""
    host, *words = argv
    box = Letterbox.of(host, LaunchEnviron.from_environ(os.environ))
    box.post(_as_a_shell_reads(" ".join(words)))  # ssh, too, makes one text of them
    return 0


def _as_a_shell_reads(text: str) -> list[str]:
    reader = shlex.shlex(text, posix=True, punctuation_chars=";&|")
    reader.whitespace_split = True
    reader.commenters = ""
    return list(reader)


def _folder(launch: LaunchEnviron) -> Path:
    if launch.run_dir is None:
        raise ConfigError(
            "`LAUNCHER_RUN_DIR` is not set", hint="start MPI over several nodes by our launcher"
        )
    return RunLayout(launch.run_dir).attempt(launch.attempt).letters


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
