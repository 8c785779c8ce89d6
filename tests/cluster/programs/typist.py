"""Types one line in an interactive shell: `typist.py SHELL WORDS ... LINE`.

The prompt of the shell is `ready-to-type`, from `PS1`.
"""

from __future__ import annotations

import os
import pty
import sys


def main(shell: list[str], line: str) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(shell[0], shell)
    said, typed = b"", False
    while True:
        try:
            said += os.read(terminal, 4096)
        except OSError:  # the shell has ended
            break
        if not typed and b"ready-to-type" in said:
            os.write(terminal, f"{line}; exit\n".encode())
            typed = True
    os.waitpid(pid, 0)
    sys.stdout.write(said.decode())


if __name__ == "__main__":
    main(sys.argv[1:-1], sys.argv[-1])
