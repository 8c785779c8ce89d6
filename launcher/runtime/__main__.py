"""``python -m launcher.runtime -- program.py args``: a program, or `-m module`, in the shim.

For launchers that start one process per rank (mpirun, srun, horovodrun), and for a program started
alone. Our own agents call the shim directly.
"""

from __future__ import annotations

import sys

from launcher.errors import LauncherError
from launcher.runtime import shim


def main(argv: list[str]) -> int:
    """Run the program named after `--`; return its exit code."""
    words = argv[1:] if argv[:1] == ["--"] else argv
    if not words or words == ["-m"]:
        sys.stderr.write("usage: python -m launcher.runtime -- PROGRAM.py [args ...]\n")
        sys.stderr.write("       python -m launcher.runtime -- -m MODULE [args ...]\n")
        return 2
    try:
        code = shim.run(words[0], words[1:])
    except LauncherError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    shim.exit_without_finalize(code)
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))  # `sys.exit` may be one of the program
