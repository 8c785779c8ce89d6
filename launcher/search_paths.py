"""Variables that list folders: what a relative entry means, whatever folder a process starts in.

Staging programs and ranks start in other folders than the user's shell, and on other machines.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

NAMES = ("PYTHONPATH", "LD_LIBRARY_PATH")
"""Read when a process starts. Others, such as `HF_HOME` or `PATH`, are read when they are used; the
program then runs in the user's folder."""
_OF_THE_LINKER = "$"
"""`$ORIGIN` and the like begin with it; the dynamic linker replaces them."""


def absolute(
    environ: Mapping[str, str], folder: Path, *, expand_home: bool = False
) -> dict[str, str]:
    """Return the search paths among `environ`, with every entry absolute.

    As for the interpreter, an empty entry means `folder`, and an empty value means no entries. A
    shell has replaced `~` already, except in a value that it did not read as a path.
    """
    return {
        name: os.pathsep.join(
            _absolute(entry, folder, expand_home=expand_home) for entry in value.split(os.pathsep)
        )
        for name, value in environ.items()
        if name in NAMES and value
    }


def _absolute(entry: str, folder: Path, *, expand_home: bool) -> str:
    if entry.startswith(_OF_THE_LINKER):
        return entry
    # Not `resolve`: like the interpreter, keep the names of links.
    return os.path.normpath(folder / (Path(entry).expanduser() if expand_home else entry))
