"""Foreign errors in the words of somebody who wants to train. One table, at the edge."""

from __future__ import annotations

from pathlib import Path

from launcher import units
from launcher.errors import LauncherError, StagingError, nearest
from launcher.specs import StageItem
from launcher.specs.secrets import redact
from launcher.storage import StorageError, free_bytes, is_disk_full, is_local
from launcher.storage.filesystems import UnknownScheme

__all__ = ["disk_full", "missing_local", "require_room", "staging_error"]


def staging_error(item: StageItem, error: BaseException, *, where: Path) -> LauncherError:
    """Return `error`, met while `item` was staged below `where`, as an error for the user."""
    if isinstance(error, LauncherError):
        return error
    if is_disk_full(error):
        return disk_full(item, where=where, needs_bytes=None, detail=redact(str(error)))
    said = redact(str(error)) or type(error).__name__
    return StagingError(f"`{item.name}` could not be staged: {said}", hint=_hint(item, error))


def _hint(item: StageItem, error: BaseException) -> str:
    if isinstance(error, UnknownScheme):
        return error.hint
    if isinstance(error, FileNotFoundError):
        return f"look at what `{item.name}` points to: {redact(item.uri)}"
    if isinstance(error, PermissionError):
        return "check your credentials for this source, and who may write `storage.root`"
    if isinstance(error, StorageError):
        return "the same command goes on where this one stopped"
    return f"what arrived is kept; the same command goes on. Source: {redact(item.uri)}"


def disk_full(
    item: StageItem, *, where: Path, needs_bytes: int | None, detail: str = ""
) -> StagingError:
    """Return the error for a full disk, with the two numbers that matter."""
    needs = f"needs {units.size(needs_bytes)}" if needs_bytes is not None else "needs more"
    return StagingError(
        f"disk full: `{item.name}` {needs}, free {units.size(free_bytes(where))} at `{where}`",
        context=detail,
        hint="make room there, or stage elsewhere: `storage.root=...`; what arrived is kept, "
        "and the same command goes on with it",
    )


def require_room(item: StageItem, needs_bytes: int, *, where: Path) -> None:
    """Refuse to begin what cannot end for lack of room.

    Raises:
        StagingError: `where` has less than `needs_bytes` free.
    """
    if needs_bytes > free_bytes(where):
        raise disk_full(item, where=where, needs_bytes=needs_bytes)


def missing_local(item: StageItem, path: Path) -> StagingError:
    """Return the error for an input that the user named and that is not there."""
    assert is_local(item.uri) or item.uri.startswith("build://")
    parent = path.parent
    if not parent.is_dir():
        near_parent = nearest(parent.name, _names(parent.parent))
        guess = f"did you mean `{parent.with_name(near_parent)}`? " if near_parent else ""
        return StagingError(
            f"`{path}` does not exist: there is no folder `{parent}`",
            hint=f"{guess}correct {_setting(item)}",
        )
    near = nearest(path.name, _names(parent))
    guess = f"did you mean `{near}`? " if near else ""
    return StagingError(f"`{path}` does not exist", hint=f"{guess}correct {_setting(item)}")


def _setting(item: StageItem) -> str:
    """What the user set: items of data are named after their keys."""
    return f"`{item.name.replace('_', '.', 1)}=`"


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
