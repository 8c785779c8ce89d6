"""What is accepted from a source: which files, under which names, with which content.

Names from a source are not trusted: no file may be written outside its folder.
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
"""More than any model or data set has. It protects against an endless listing."""
_SHOWN = 8


def select(item: StageItem, offered: Iterable[str]) -> dict[str, str]:
    """Return offered path -> path in the staged folder, for the files that `item` selects.

    Raises:
        StagingError: nothing matches, a name is dangerous, or two files have the same name.
    """
    names = list(offered)
    if len(names) > MAX_FILES:
        raise StagingError(
            f"`{redact(item.uri)}` has {len(names)} files; at most {MAX_FILES} can be staged",
            hint="pack them, or select some with `include`",
        )
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        if not _wanted(name, item.include):
            continue
        target = check_relative(_stripped(name, item.strip), item.uri)
        if target.casefold() in taken:
            raise StagingError(
                f"`{redact(item.uri)}` contains `{target}` twice",
                hint="select one of them with `include`",
            )
        taken.add(target.casefold())
        chosen[name] = target
    if not chosen:
        raise _nothing(item, names)
    return chosen


def check_relative(name: str, uri: str) -> str:
    """Return `name` if it is a plain relative path.

    Raises:
        StagingError: it is absolute, leaves its folder, or is ambiguous.
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
            f"`{redact(uri)}` contains `{name[:200]!r}`, which could end outside its folder",
            hint="do not use this source; if you trust it, select other files with `include`",
        )
    return name


def inside(folder: Path, relative: str) -> Path:
    """Return the path of `relative`, which is already checked, in `folder`."""
    return folder.joinpath(*relative.split("/"))


def _wanted(name: str, include: Sequence[str]) -> bool:
    return not include or any(fnmatch.fnmatchcase(name, pattern) for pattern in include)


def _stripped(name: str, strip: str) -> str:
    return name.removeprefix(posixpath.join(strip.strip("/"), "")) if strip else name


def _nothing(item: StageItem, names: Sequence[str]) -> StagingError:
    if not item.include:
        return StagingError(
            f"`{redact(item.uri)}` contains no files",
            hint=f"check the source of `{item.name}`",
        )
    near = nearest(item.include[0], names)
    guess = f"did you mean `{near}`? " if near else ""
    return StagingError(
        f"no file of `{redact(item.uri)}` matches {', '.join(f'`{one}`' for one in item.include)}",
        context=f"it contains: {', '.join(names[:_SHOWN])}{' ...' if len(names) > _SHOWN else ''}",
        hint=f"{guess}correct `include` of `{item.name}`",
    )


# Comparing what arrived with what was promised.
def expect_sha256(path: Path, expected: str, what: str) -> None:
    """Refuse a file with another sha256 than `expected`.

    Raises:
        StagingError: naming both digests; `what` is what people call the file.
    """
    actual = sha256_of(path)
    if actual != expected.lower():
        raise StagingError(
            f"`{what}` does not match the expected digest",
            context=f"expected sha256 {expected.lower()}\ngot sha256      {actual}",
            hint="repeat the command, as the transfer may be damaged; if it happens again, the "
            "source has changed: find out why before you change the digest",
        )


def expect_git_blob(path: Path, expected: str, what: str) -> None:
    """Check the git object id of a file, which the hub reports for files outside LFS.

    Raises:
        StagingError: it is not `expected`.
    """
    content = path.read_bytes()
    header = f"blob {len(content)}\0".encode()
    actual = hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
    if actual != expected.lower():
        raise StagingError(
            f"`{what}` does not match the expected digest",
            context=f"expected git object id {expected}\ngot git object id      {actual}",
            hint="repeat the command; if it happens again, a mirror or a proxy changes the files",
        )
