"""Unpacking an untrusted zip file: nothing is written outside the folder, nothing is executed."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path

from launcher.errors import StagingError
from launcher.specs import StageItem
from launcher.specs.secrets import redact
from launcher.staging.failures import require_room
from launcher.staging.fetcher import Workspace
from launcher.staging.selection import inside, select

__all__ = ["unpack"]

_BLOCK_BYTES = 1 << 20
_MAX_RATIO = 1100
"""Deflate reaches at most 1032. A higher ratio means a false size."""


def unpack(archive: Path, workspace: Workspace) -> None:
    """Write the wanted files of `archive` to the workspace.

    Raises:
        StagingError: it is damaged or dangerous, does not fit on the disk, or no file matches.
    """
    item = workspace.item
    try:
        with zipfile.ZipFile(archive) as opened:
            members = {info.filename: info for info in opened.infolist() if not info.is_dir()}
            targets = select(item, _names(opened))
            wanted = {targets[name]: members[name] for name in targets}
            for info in wanted.values():
                _check(item, info)
            needs = sum(info.file_size for info in wanted.values())
            require_room(item, needs, where=workspace.files)
            for relative, info in wanted.items():
                _write(opened, info, inside(workspace.files, relative), workspace)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise StagingError(
            f"the archive `{redact(item.uri)}` cannot be unpacked: {error}",
            hint="repeat the command; if it happens again, the file at the source is damaged",
        ) from error


def _names(opened: zipfile.ZipFile) -> list[str]:
    # with repetitions, so that a duplicate name is an error
    return [info.filename for info in opened.infolist() if not info.is_dir()]


def _check(item: StageItem, info: zipfile.ZipInfo) -> None:
    mode = info.external_attr >> 16
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        raise StagingError(
            f"`{redact(item.uri)}` contains `{info.filename}`, which is a link or a device",
            hint="do not use this source; if you trust it, select other files with `include`",
        )
    if info.file_size > max(info.compress_size, 1) * _MAX_RATIO:
        raise StagingError(
            f"`{redact(item.uri)}` contains `{info.filename}`, which claims to unpack to "
            f"{info.file_size} bytes from {info.compress_size}",
            hint="do not use this source",
        )


def _write(
    opened: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, workspace: Workspace
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(info) as source, target.open("xb") as file:
        # zipfile stops at the declared size and checks the CRC
        while block := source.read(_BLOCK_BYTES):
            workspace.check()
            file.write(block)
