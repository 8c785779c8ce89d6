"""Comparing what arrived with what was promised."""

from __future__ import annotations

import hashlib
from pathlib import Path

from launcher.errors import StagingError
from launcher.storage.manifest import sha256_of

__all__ = ["expect_git_blob", "expect_sha256"]


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
