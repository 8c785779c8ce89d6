"""``python -m launcher.runtime -- program.py args``: the shim, under any launcher.

For launchers that start one process per rank themselves (mpirun, srun, horovodrun), and for a
program started alone. Under `backend=torchrun` the agent enters the shim without a new process.
"""

from __future__ import annotations

import sys

from launcher.errors import LauncherError
from launcher.runtime import shim


def main(argv: list[str]) -> int:
    """Run the program named after `--`; return its exit code."""
    words = argv[1:] if argv[:1] == ["--"] else argv
    if not words:
        sys.stderr.write("usage: python -m launcher.runtime -- program.py [args ...]\n")
        return 2
    try:
        code = shim.run(words[0], words[1:])
    except LauncherError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    shim.leave_without_finalize(code)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
