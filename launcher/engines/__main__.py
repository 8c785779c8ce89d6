"""``python -m launcher.engines install horovod [--with-mpi]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from launcher.engines import install as horovod
from launcher.errors import LauncherError


def main(argv: Sequence[str]) -> int:
    """Install an engine; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m launcher.engines")
    verbs = parser.add_subparsers(dest="verb", required=True)
    install = verbs.add_parser("install", help="build an engine for the installed torch")
    install.add_argument("engine", choices=("horovod",))
    install.add_argument(
        "--with-mpi",
        action="store_true",
        help="insist on the MPI controller; it is built anyway where `.[mpi]` is installed",
    )
    asked = parser.parse_args(argv)
    try:
        horovod.install(with_mpi=asked.with_mpi, say=_say)
    except LauncherError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
