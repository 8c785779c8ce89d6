"""Whether an engine is installed, without importing it: the answer takes milliseconds."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

from launcher.engines.table import BACKENDS
from launcher.errors import EngineMissingError
from launcher.extensions import load

__all__ = ["horovod", "horovod_build", "horovod_mpi", "mpi", "require", "torch"]

MARKER = "launcher-build.json"
"""In Horovod's package folder: what our build of it was made for."""

_TORCH = "pip install torch"
_MPI = "pip install 'hydra-torch-launcher[mpi]'"
_HOROVOD = "python -m launcher.engines install horovod"

Missing = tuple[str, str]
"""What is missing, and the command that installs it."""


def require(backend: str, python: str = sys.executable) -> None:
    """Raise unless everything that `backend` needs is installed.

    We cannot inspect another interpreter, so this check is skipped for it.

    Raises:
        UnknownNameError: there is no such backend.
        EngineMissingError: something is missing; the hint has the commands that install it.
    """
    row = BACKENDS[backend]
    if python != sys.executable:
        return
    missing = tuple(cast("Callable[[], Iterable[Missing]]", load(row.missing))())
    if missing:
        what = " and ".join(dict.fromkeys(name for name, _ in missing))
        raise EngineMissingError(
            f"backend={backend} needs {what}",
            hint="; ".join(dict.fromkeys(how for _, how in missing)),
        )


def torch() -> Iterator[Missing]:
    """Yield what `backend=torchrun` needs and does not have."""
    yield from _modules("torch", how=_TORCH)


def mpi() -> Iterator[Missing]:
    """Yield what `backend=mpi` needs and does not have."""
    yield from torch()
    yield from _modules("mpi4py", how=_MPI)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    if shutil.which("mpirun", path=path) is None:
        yield "mpirun", _MPI


def horovod() -> Iterator[Missing]:
    """Yield what `backend=horovod` needs and does not have."""
    yield from torch()
    if "mpi" in str((horovod_build() or {}).get("controllers")):
        yield from mpi()  # a Horovod linked with MPI does not load without it
    yield from _horovod_for(_HOROVOD, "gloo")


def horovod_mpi() -> Iterator[Missing]:
    """Yield what `backend=horovod_mpi` needs and does not have."""
    yield from mpi()
    yield from _horovod_for(f"{_HOROVOD} --with-mpi", "mpi")


def horovod_build() -> dict[str, object] | None:
    """Return what the installed Horovod was built for; None if it is not our build."""
    folder = _folder_of("horovod")
    if folder is None or not (folder / MARKER).is_file():
        return None
    build: dict[str, object] = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    return build


def _horovod_for(how: str, controller: str) -> Iterator[Missing]:
    from importlib.metadata import version  # noqa: PLC0415 - every command imports this module

    folder = _folder_of("horovod")
    if folder is None or not any((folder / "torch").glob("mpi_lib*.so")):
        yield "horovod (built for torch)", how
        return
    build = horovod_build()
    if build is None:
        return  # not ours: we trust it
    installed = version("torch") if _folder_of("torch") else ""
    if installed and build.get("torch") != installed:
        yield f"a Horovod built for torch {installed} (this one is for {build.get('torch')})", how
    elif controller not in str(build.get("controllers")):
        yield f"a Horovod built with the {controller} controller", how


def _modules(*names: str, how: str) -> Iterator[Missing]:
    yield from ((name, how) for name in names if _folder_of(name) is None)


def _folder_of(module: str) -> Path | None:
    """Return the folder of a top-level package. Does not import it: torch takes seconds."""
    spec = importlib.util.find_spec(module)
    return Path(spec.origin).parent if spec and spec.origin else None
