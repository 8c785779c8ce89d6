"""URIs, the file system behind each, and the files there.

A URI is a plain path, `file://`, or anything that fsspec knows. Only this module and `transfer`
use fsspec.
"""

from __future__ import annotations

import functools
import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from launcher.errors import ConfigError, nearest
from launcher.specs.secrets import redact

__all__ = [
    "ListedFile",
    "Listing",
    "StorageError",
    "UnknownScheme",
    "expand_home",
    "filesystem",
    "has_filesystem",
    "is_local",
    "list_source",
    "local_path",
    "local_root",
    "scheme_of",
]

_CONNECTIONS = 64
_CONNECT_TIMEOUT_S = 30
_READ_TIMEOUT_S = 60
"""A connection that is silent for this long is lost. A whole transfer has no limit."""

_HEADERS = {"Accept-Encoding": "identity"}
"""Ranges and sizes must be those of the file, not of a compressed form."""

_VERSION_FIELDS = (
    "ETag",
    "etag",
    "md5Hash",
    "generation",
    "version_id",
    "Last-Modified",
    "LastModified",
    "last_modified",
    "updated",
    "modified",
    "mtime",
)


class StorageError(Exception):
    """A URI could not be read. The message contains no secrets."""


class UnknownScheme(StorageError):
    """fsspec has no file system for a scheme, or its package is not installed."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def scheme_of(uri: str) -> str:
    """Return the scheme in lower case. A plain path has the scheme `file`."""
    scheme, mark, _ = uri.partition("://")
    return scheme.lower() if mark else "file"


def is_local(uri: str) -> bool:
    """Return whether `uri` is on a mounted file system."""
    return scheme_of(uri) in ("file", "local")


def local_path(uri: str) -> Path:
    """Return the absolute path of a local `uri`. Percent escapes are decoded in `file://` only."""
    if not is_local(uri):
        raise ValueError(f"`{redact(uri)}` is not on a mounted file system")
    _, mark, rest = uri.partition("://")
    if not mark:
        return Path(uri).expanduser().absolute()
    rest = unquote(rest)
    return Path(
        rest.removeprefix("localhost") if rest.startswith("localhost/") else rest
    ).absolute()


def expand_home(path: str, name: str) -> str:
    """Return a path or URI with `~` and `~user` replaced by the home folder on this machine.

    `build://~/x` is a path, too. `name` is what sets the path: `script`, `--config`.

    Raises:
        ConfigError: the user does not exist, or has no home folder.
    """
    scheme, mark, rest = path.rpartition("://")
    if not rest.startswith("~") or scheme not in ("", "build"):
        return path
    try:
        return f"{scheme}{mark}{Path(rest).expanduser()}"
    except RuntimeError:
        user = rest.split("/")[0]
        who = f"there is no user `{user[1:]}`" if user != "~" else "this user has no home folder"
        raise ConfigError(
            f"`{name}={path}`: {who}", hint=f"write the whole path, or `./{rest}` for a file here"
        ) from None


def local_root(uri: str, cwd: Path | None = None) -> Path:
    """Return the absolute folder of `storage.root`. A relative path starts at `cwd`.

    Raises:
        ConfigError: it is empty, or not on a mounted file system.
    """
    if not uri.strip():
        raise ConfigError(
            "`storage.root` is empty", hint="give a folder: `storage.root=/shared/me/outputs`"
        )
    if not is_local(uri):
        raise ConfigError(
            f"`storage.root={redact(uri)}`: runs cannot be stored on `{scheme_of(uri)}://`",
            hint="give a folder that all nodes see (`storage.root=/shared/me/outputs`); "
            "models and data can come from any URI: `model=s3://...`, `data=s3://...`",
        )
    path = local_path(uri) if "://" in uri else Path(expand_home(uri, "storage.root"))
    return ((cwd or Path.cwd()) / path).resolve()


@dataclass(frozen=True, kw_only=True)
class ListedFile:
    """One file that can be transferred."""

    path: str
    """In the form that its file system expects."""
    relative: str
    """Path below the source, with `/`; the name of the file if the source is one file."""
    size_bytes: int | None
    """None if the server does not report it."""
    version: str
    """Changes when the content changes; empty if the server reports no version."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files at one URI."""

    filesystem: Any
    files: tuple[ListedFile, ...]
    single: bool
    """True if the URI is one file, not a folder."""


def has_filesystem(scheme: str) -> bool:
    """Return whether fsspec has a file system for `scheme`; its package may be missing."""
    if scheme in ("file", "local", "http", "https"):
        return True
    import fsspec  # noqa: PLC0415  takes a quarter of a second

    return scheme in fsspec.available_protocols()


def filesystem(uri: str, *, headers: Mapping[str, str] | None = None) -> tuple[Any, str]:
    """Return the fsspec file system of `uri`, tuned for large ranges, and the path in it.

    Args:
        uri: any URI.
        headers: sent with every request, for http(s) only.

    Raises:
        UnknownScheme: fsspec does not know the scheme, or its package is missing.
    """
    scheme = scheme_of(uri)
    if is_local(uri):
        return _instance("file"), str(local_path(uri))
    if scheme in ("http", "https"):
        return _http(tuple(sorted((headers or {}).items()))), uri
    known = _instance(scheme)
    return known, known._strip_protocol(uri)


def list_source(uri: str) -> Listing:
    """List `uri`: one file, or all files below a folder, sorted by path.

    Raises:
        FileNotFoundError: it does not exist, or is neither a file nor a folder.
        UnknownScheme: see `filesystem`.
    """
    known, path = filesystem(uri)
    if is_local(uri):
        return _list_local(known, Path(path))
    # fsspec caches listings, which may be stale
    known.invalidate_cache()
    info = known.info(path)
    if info.get("type") != "directory":
        name = posixpath.basename(path.split("?")[0].rstrip("/")) or "file"
        return Listing(filesystem=known, files=(_source_file(info, path, name),), single=True)
    entries = known.find(path, detail=True)
    prefix = path.rstrip("/") + "/"
    files = tuple(
        _source_file(info, name, name.removeprefix(prefix))
        for name, info in sorted(entries.items())
        if info.get("type") == "file" and not name.endswith("/")
    )
    return Listing(filesystem=known, files=files, single=False)


def _list_local(known: Any, path: Path) -> Listing:
    """List without fsspec, which does not follow a link to a file."""
    if path.is_file():
        return Listing(filesystem=known, files=(_local_file(path, path.name),), single=True)
    if not path.is_dir():
        raise FileNotFoundError(f"`{path}` is neither a file nor a folder")
    files = [
        _local_file(file, file.relative_to(path).as_posix())
        for parent, _, names in os.walk(path)
        for name in names
        if (file := Path(parent, name)).is_file()
    ]
    ordered = sorted(files, key=lambda file: file.relative)
    return Listing(filesystem=known, files=tuple(ordered), single=False)


def _local_file(path: Path, relative: str) -> ListedFile:
    about = path.stat()
    version = f"{about.st_mtime_ns}-{about.st_ino}"
    return ListedFile(path=str(path), relative=relative, size_bytes=about.st_size, version=version)


def _source_file(info: Mapping[str, Any], path: str, relative: str) -> ListedFile:
    versions = (str(info[field]) for field in _VERSION_FIELDS if info.get(field))
    return ListedFile(
        path=path, relative=relative, size_bytes=info.get("size"), version=next(versions, "")
    )


def _instance(scheme: str) -> Any:
    import fsspec  # noqa: PLC0415  takes a quarter of a second

    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError:
        near = nearest(scheme, fsspec.available_protocols())
        guess = f"did you mean `{near}://`? " if near else ""
        raise UnknownScheme(
            f"unknown scheme `{scheme}://`",
            hint=f"{guess}a path, s3://, https://, hf://, pypi:// and build:// always work",
        ) from None
    except ImportError as error:
        raise UnknownScheme(
            f"`{scheme}://` needs a package that is not installed", hint=redact(str(error))
        ) from None
    return fsspec.filesystem(scheme, **_options(scheme))


def _options(scheme: str) -> dict[str, Any]:
    if scheme not in ("s3", "s3a"):
        return {}
    # By default botocore opens 10 connections. Its CRC check of ranges costs a third of the speed,
    # and fails with servers that send the CRC of the whole object. We check digests instead.
    return {
        "config_kwargs": {
            "max_pool_connections": _CONNECTIONS,
            "response_checksum_validation": "when_required",
            "request_checksum_calculation": "when_required",
        }
    }


@functools.lru_cache(maxsize=8)
def _http(headers: tuple[tuple[str, str], ...]) -> Any:
    import aiohttp  # noqa: PLC0415
    import fsspec  # noqa: PLC0415

    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=_READ_TIMEOUT_S
    )
    client = {"timeout": timeout, "trust_env": True, "headers": _HEADERS | dict(headers)}
    return fsspec.filesystem("https", client_kwargs=client, skip_instance_cache=True)
