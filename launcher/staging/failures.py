"""Errors of staging: what the user sees for an error of a disk, a server or a library."""

from __future__ import annotations

from pathlib import Path

from launcher import units
from launcher.disk import free_bytes, is_disk_full
from launcher.errors import LauncherError, StagingError, nearest
from launcher.specs import StageItem
from launcher.specs.secrets import redact
from launcher.storage import StorageError, is_local
from launcher.storage.filesystems import UnknownScheme

__all__ = ["disk_full", "missing_local", "require_room", "staging_error"]


def staging_error(item: StageItem, error: BaseException, *, where: Path) -> LauncherError:
    """Return the error to show for `error`, which occurred while `item` was staged in `where`."""
    if isinstance(error, LauncherError):
        return error
    if is_disk_full(error):
        return disk_full(item, where=where, needs_bytes=None, detail=redact(str(error)))
    reason = redact(str(error)) or type(error).__name__
    return StagingError(f"`{item.name}` could not be staged: {reason}", hint=_hint(item, error))


def _hint(item: StageItem, error: BaseException) -> str:
    if isinstance(error, UnknownScheme):
        return error.hint
    if isinstance(error, FileNotFoundError):
        return f"check the source of `{item.name}`: {redact(item.uri)}"
    if isinstance(error, PermissionError):
        return "check your credentials for this source, and the permissions of `storage.root`"
    if isinstance(error, StorageError):
        return "repeat the command; it resumes the transfer"
    return f"repeat the command; it resumes the transfer. Source: {redact(item.uri)}"


def disk_full(
    item: StageItem, *, where: Path, needs_bytes: int | None, detail: str = ""
) -> StagingError:
    """Return the error for a full disk, with the needed and the free space."""
    needs = f"needs {units.size(needs_bytes)}" if needs_bytes is not None else "needs more"
    return StagingError(
        f"disk full: `{item.name}` {needs}, free {units.size(free_bytes(where))} at `{where}`",
        context=detail,
        hint="free space there, or set another `storage.root=...`; then repeat the command: it "
        "resumes the transfer",
    )


def require_room(item: StageItem, needs_bytes: int, *, where: Path) -> None:
    """Check that there is enough free space before a transfer starts.

    Raises:
        StagingError: `where` has less than `needs_bytes` free.
    """
    if needs_bytes > free_bytes(where):
        raise disk_full(item, where=where, needs_bytes=needs_bytes)


def missing_local(item: StageItem, path: Path) -> StagingError:
    """Return the error for an input of the user that does not exist."""
    assert is_local(item.uri) or item.uri.startswith("build://")
    parent = path.parent
    if not parent.is_dir():
        near_parent = nearest(parent.name, _names(parent.parent))
        guess = f"did you mean `{parent.with_name(near_parent)}`? " if near_parent else ""
        return StagingError(
            f"`{path}` does not exist: its folder `{parent}` does not exist",
            hint=f"{guess}correct {_setting(item)}",
        )
    near = nearest(path.name, _names(parent))
    guess = f"did you mean `{near}`? " if near else ""
    return StagingError(f"`{path}` does not exist", hint=f"{guess}correct {_setting(item)}")


def _setting(item: StageItem) -> str:
    """Return the setting of `item`. Items of data are named after their keys."""
    return f"`{item.name.replace('_', '.', 1)}=`"


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
