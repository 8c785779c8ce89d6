"""Which of the files that a source offers are wanted, and where they go. Pure.

Names from outside are hostile: none may leave the folder it is put into.
"""

from __future__ import annotations

import fnmatch
import hashlib
import posixpath
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from launcher.errors import StagingError, nearest
from launcher.specs import StageItem
from launcher.specs.secrets import redact
from launcher.storage.manifest import MANIFEST_NAME, sha256_of

__all__ = ["check_relative", "select"]

MAX_FILES = 200_000
"""More than any model or data set has; a listing that goes on for ever ends here."""
_SHOWN = 8


def select(item: StageItem, offered: Iterable[str]) -> dict[str, str]:
    """Return offered path -> path in the snapshot, for the files that `item` wants.

    Raises:
        StagingError: nothing matches, a name is dangerous, or two files would be one.
    """
    names = list(offered)
    if len(names) > MAX_FILES:
        raise StagingError(
            f"`{redact(item.uri)}` offers {len(names)} files; at most {MAX_FILES} are staged",
            hint="pack them, or choose some with `include`",
        )
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        if not _wanted(name, item.include):
            continue
        target = check_relative(_stripped(name, item.strip), item.uri)
        if target.casefold() in taken:
            raise StagingError(
                f"`{redact(item.uri)}` holds `{target}` twice",
                hint="choose one of them with `include`",
            )
        taken.add(target.casefold())
        chosen[name] = target
    if not chosen:
        raise _nothing(item, names)
    return chosen


def check_relative(name: str, uri: str) -> str:
    """Return `name` if it is a plain path below a folder; whoever offers another is not trusted.

    Raises:
        StagingError: it is absolute, climbs out, or could be read as something else.
    """
    parts = name.split("/")
    odd = any(part in ("", ".", "..") for part in parts)
    if (
        odd
        or "\\" in name
        or "\0" in name
        or PurePosixPath(name).is_absolute()
        or name == MANIFEST_NAME
    ):
        raise StagingError(
            f"`{redact(uri)}` holds `{name[:200]!r}`, which could end outside its folder",
            hint="do not use this source; if you trust it, choose other files with `include`",
        )
    return name


def inside(folder: Path, relative: str) -> Path:
    """Return where `relative`, already checked, lies in `folder`."""
    return folder.joinpath(*relative.split("/"))


def _wanted(name: str, include: Sequence[str]) -> bool:
    return not include or any(fnmatch.fnmatchcase(name, pattern) for pattern in include)


def _stripped(name: str, strip: str) -> str:
    return name.removeprefix(posixpath.join(strip.strip("/"), "")) if strip else name


def _nothing(item: StageItem, names: Sequence[str]) -> StagingError:
    if not item.include:
        return StagingError(
            f"`{redact(item.uri)}` holds no files",
            hint=f"look at what `{item.name}` points to",
        )
    near = nearest(item.include[0], names)
    guess = f"did you mean `{near}`? " if near else ""
    return StagingError(
        f"no file of `{redact(item.uri)}` matches {', '.join(f'`{one}`' for one in item.include)}",
        context=f"it holds: {', '.join(names[:_SHOWN])}{' ...' if len(names) > _SHOWN else ''}",
        hint=f"{guess}correct `include` of `{item.name}`",
    )


# Comparing what arrived with what was promised.
def expect_sha256(path: Path, expected: str, what: str) -> None:
    """Refuse a file with another sha256 than `expected`.

    Raises:
        StagingError: naming both digests; `what` is what people call the file.
    """
    found = sha256_of(path)
    if found != expected.lower():
        raise StagingError(
            f"`{what}` has another content than promised",
            context=f"sha256 expected {expected.lower()}\nsha256 found    {found}",
            hint="repeat the command in case the transfer was damaged; if it happens again the "
            "source was changed: find out by whom before you change the digest",
        )


def expect_git_blob(path: Path, expected: str, what: str) -> None:
    """Refuse a file whose git object id is not `expected`; hubs tell it for files outside LFS.

    Raises:
        StagingError: naming the file.
    """
    content = path.read_bytes()
    header = f"blob {len(content)}\0".encode()
    found = hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
    if found != expected.lower():
        raise StagingError(
            f"`{what}` has another content than the hub promised",
            context=f"git object id expected {expected}\ngit object id found    {found}",
            hint="repeat the command; if it happens again, the mirror or a proxy changes files",
        )
