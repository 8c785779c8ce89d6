"""``python -m launcher.engines install horovod [--with-mpi]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from launcher.engines.install import install
from launcher.errors import LauncherError


def main(argv: Sequence[str]) -> int:
    """Install an engine; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m launcher.engines")
    parser.add_argument("verb", choices=("install",))
    parser.add_argument("engine", choices=("horovod",))
    parser.add_argument(
        "--with-mpi",
        action="store_true",
        help="require the MPI controller; where `.[mpi]` is installed it is built in any case",
    )
    try:
        install(
            with_mpi=parser.parse_args(argv).with_mpi,
            say=lambda line: print(line, flush=True),  # noqa: T201 - a command line of its own
        )
    except LauncherError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
