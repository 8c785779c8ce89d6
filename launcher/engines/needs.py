"""Whether an engine is here, asked without importing it: the answer takes milliseconds."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from launcher.errors import EngineMissingError

__all__ = ["NEEDS", "horovod_build", "require"]

MARKER = "launcher-build.json"
"""Beside Horovod's modules: what our build of it was made for."""

_TORCH = "pip install torch"
_MPI = "pip install 'hydra-torch-launcher[mpi]'"
_HOROVOD = "python -m launcher.engines install horovod"

Missing = tuple[str, str]
"""What is missing, and the command that mends it."""


def require(backend: str, python: str = sys.executable) -> None:
    """Raise unless everything that `backend` needs is installed.

    Of another interpreter than this one nothing is known; then nothing is said.

    Raises:
        EngineMissingError: names all that is missing, and the commands that mend it.
    """
    if python != sys.executable:
        return
    missing = list(NEEDS.get(backend, lambda: iter(()))())
    if missing:
        what = " and ".join(dict.fromkeys(name for name, _ in missing))
        raise EngineMissingError(
            f"backend={backend} needs {what}",
            hint="; ".join(dict.fromkeys(how for _, how in missing)),
        )


def horovod_build() -> dict[str, object] | None:
    """Return what the installed Horovod was built for, as far as our own build noted it."""
    folder = _folder_of("horovod")
    if folder is None or not (folder / MARKER).is_file():
        return None
    found: dict[str, object] = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    return found


def _torch() -> Iterator[Missing]:
    yield from _modules("torch", how=_TORCH)


def _mpi() -> Iterator[Missing]:
    yield from _torch()
    yield from _modules("mpi4py", how=_MPI)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    if shutil.which("mpirun", path=path) is None:
        yield "mpirun", _MPI


def _horovod() -> Iterator[Missing]:
    yield from _torch()
    if "mpi" in str((horovod_build() or {}).get("controllers")):
        yield from _mpi()  # linked with it, it does not even load without
    yield from _horovod_for(_HOROVOD, "gloo")


def _horovod_mpi() -> Iterator[Missing]:
    yield from _mpi()
    yield from _horovod_for(f"{_HOROVOD} --with-mpi", "mpi")


def _horovod_for(how: str, controller: str) -> Iterator[Missing]:
    folder = _folder_of("horovod")
    if folder is None or not any((folder / "torch").glob("mpi_lib*.so")):
        yield "horovod (built for torch)", how
        return
    made = horovod_build()
    if made is None:
        return  # somebody else's build: trusted
    torch = importlib.metadata.version("torch") if _folder_of("torch") else ""
    if torch and made.get("torch") != torch:
        yield f"a Horovod built for torch {torch} (this one is for {made.get('torch')})", how
    elif controller not in str(made.get("controllers")):
        yield f"a Horovod built with the {controller} controller", how


def _modules(*names: str, how: str) -> Iterator[Missing]:
    yield from ((name, how) for name in names if _folder_of(name) is None)


def _folder_of(module: str) -> Path | None:
    """Return where a top-level package stands. Found, not imported: torch takes seconds."""
    found = importlib.util.find_spec(module)
    return Path(found.origin).parent if found and found.origin else None


NEEDS: Mapping[str, Callable[[], Iterator[Missing]]] = MappingProxyType(
    {
        "torchrun": _torch,
        "mpi": _mpi,
        "horovod": _horovod,
        "horovod_mpi": _horovod_mpi,
    }
)
"""Backend -> what it misses here."""
