"""`build:///abs/program.py`: a Python program that computes the files from other staged items.

It runs as ``python PROGRAM --out DIR --input NAME=PATH ... --option KEY=VALUE ...``. A line
``PROGRESS <done> <total> <unit>`` of its output is progress, any other line is log. Any exit code
except 0 is a failure. The digest of the program is part of the key, so a changed program builds
again.
"""

from __future__ import annotations

import logging
import re
import shutil
import sys
from pathlib import Path

from launcher.errors import StagingError
from launcher.specs import StageItem
from launcher.staging.child import run_child
from launcher.staging.failures import disk_full, missing_local
from launcher.staging.fetcher import Fetched, Workspace
from launcher.storage.manifest import sha256_of

__all__ = ["BuildFetcher"]

log = logging.getLogger(__name__)

_PROGRESS = re.compile(r"PROGRESS\s+(\d+)\s+(\d+)(?:\s+(\S+))?\s*")
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|Errno (28|122)\b", re.I)
_BYTE_UNITS = ("B", "bytes")


class BuildFetcher:
    """Runs the program named in the config. Nothing that was downloaded is executed."""

    def pin(self, item: StageItem) -> str:
        return sha256_of(_program(item))

    def fetch(self, workspace: Workspace) -> Fetched:
        program = _program(workspace.item)
        digest = sha256_of(program)
        # files of an earlier try may be incomplete, and the program cannot resume
        shutil.rmtree(workspace.files, ignore_errors=True)
        workspace.files.mkdir(parents=True)
        workspace.scratch.mkdir(parents=True, exist_ok=True)
        workspace.expect(None)
        listener = _Listener(workspace)
        ended = run_child(
            _argv(program, workspace),
            cwd=workspace.scratch,
            env={"TOKENIZERS_PARALLELISM": "false"},
            stop=workspace.stop,
            line=listener.hear,
        )
        if ended.exit_code != 0:
            raise _failure(workspace, program, ended.exit_code, ended.tail)
        _check_output(workspace, program)
        return Fetched(transferred_bytes=0, revision=f"sha256:{digest}")


class _Listener:
    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._bytes = 0

    def hear(self, line: str) -> bool:
        match = _PROGRESS.fullmatch(line)
        name = self._workspace.item.name
        if match is None:
            log.debug("%s: %s", name, line)
            return False
        done, total, unit = int(match[1]), int(match[2]), match[3] or ""
        if unit in _BYTE_UNITS:
            if not self._bytes:
                self._workspace.expect(total)
            self._workspace.advanced(max(0, done - self._bytes))
            self._bytes = max(done, self._bytes)
        self._workspace.progress.counted(name, done, total, unit)
        return True


def _program(item: StageItem) -> Path:
    path = Path(item.uri.removeprefix("build://")).expanduser().absolute()
    if not path.is_file():
        raise missing_local(item, path)
    return path


def _argv(program: Path, workspace: Workspace) -> list[str]:
    argv = [sys.executable, str(program), "--out", str(workspace.files)]
    for name, path in workspace.inputs.items():
        argv += ["--input", f"{name}={path}"]
    for key, value in workspace.item.options.items():
        argv += ["--option", f"{key}={value}"]
    return argv


def _failure(workspace: Workspace, program: Path, exit_code: int, tail: str) -> StagingError:
    full = [line.strip() for line in tail.splitlines() if _DISK_FULL.search(line)]
    if full:  # the place in the program does not matter
        return disk_full(workspace.item, where=workspace.files, needs_bytes=None, detail=full[-1])
    how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with {exit_code}"
    return StagingError(
        f"`{workspace.item.name}` could not be built: `{program}` {how}",
        context=tail,
        hint="see its last lines above, and correct the data or the options",
    )


def _check_output(workspace: Workspace, program: Path) -> None:
    entries = list(workspace.files.rglob("*"))
    if not any(entry.is_file() for entry in entries):
        raise StagingError(
            f"`{program}` ended with 0 but wrote no file for `{workspace.item.name}`",
            hint="a build program must write its files below the folder given as `--out`",
        )
    links = [entry for entry in entries if entry.is_symlink()]
    if links:
        raise StagingError(
            f"`{program}` created a link, `{links[0].name}`, whose target may disappear",
            hint="change the program so that it copies the file",
        )
