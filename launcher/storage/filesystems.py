"""File systems by URI, and what lies there. With `transfer`, the only place that knows fsspec."""

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
    "Source",
    "SourceFile",
    "StorageError",
    "UnknownScheme",
    "filesystem",
    "has_filesystem",
    "list_source",
]

_CONNECTIONS = 64
_CONNECT_TIMEOUT_S = 30
_READ_TIMEOUT_S = 60
"""Silence on a connection after which it counts as lost. There is no limit on a whole transfer."""

_HEADERS = {"Accept-Encoding": "identity"}
"""Ranges and sizes are those of the file, not of its compressed form."""

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
    """A place could not be read or written; the message says what happened, without secrets."""


class UnknownScheme(StorageError):
    """No file system of that name, or the package that knows it is not installed."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file that can be transferred."""

    path: str
    """As its file system wants it."""
    relative: str
    """Below the source, with `/`; the file's own name when the source is one file."""
    size_bytes: int | None
    """None when the other side does not say."""
    version: str
    """Changes when the content does; empty when the other side says nothing to tell it by."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Everything at one URI, as it was listed."""

    filesystem: Any
    files: tuple[SourceFile, ...]
    single: bool
    """True when the URI names one file, not a folder."""


def has_filesystem(scheme: str) -> bool:
    """Return whether fsspec has a file system for `scheme`; its package may be missing."""
    if scheme in ("file", "local", "http", "https"):
        return True
    import fsspec  # noqa: PLC0415  takes a quarter of a second

    return scheme in fsspec.available_protocols()


def filesystem(uri: str, *, headers: Mapping[str, str] | None = None) -> tuple[Any, str]:
    """Return the fsspec file system of `uri` and the path in it, tuned for large ranges.

    Args:
        uri: a plain path or anything fsspec knows.
        headers: sent with every request, for http(s) only.

    Raises:
        UnknownScheme: nobody knows the scheme, or its package is missing.
    """
    scheme = scheme_of(uri)
    if is_local(uri):
        return _instance("file"), str(local_path(uri))
    if scheme in ("http", "https"):
        return _http(tuple(sorted((headers or {}).items()))), uri
    known = _instance(scheme)
    return known, known._strip_protocol(uri)


def list_source(uri: str) -> Source:
    """Return the file or the files below the folder that `uri` names, sorted by path.

    Raises:
        FileNotFoundError: there is nothing, or neither a file nor a folder.
        UnknownScheme: see `filesystem`.
    """
    known, path = filesystem(uri)
    if is_local(uri):
        return _list_local(known, Path(path))
    # a listing that an earlier call left behind may be stale
    known.invalidate_cache()
    info = known.info(path)
    if info.get("type") != "directory":
        name = posixpath.basename(path.split("?")[0].rstrip("/")) or "file"
        return Source(filesystem=known, files=(_source_file(info, path, name),), single=True)
    found = known.find(path, detail=True)
    prefix = path.rstrip("/") + "/"
    files = tuple(
        _source_file(info, name, name.removeprefix(prefix))
        for name, info in sorted(found.items())
        if info.get("type") == "file" and not name.endswith("/")
    )
    return Source(filesystem=known, files=files, single=False)


def _list_local(known: Any, path: Path) -> Source:
    """List without fsspec, which takes a link to a file for something else than a file."""
    if path.is_file():
        return Source(filesystem=known, files=(_local_file(path, path.name),), single=True)
    if not path.is_dir():
        raise FileNotFoundError(f"`{path}` is neither a file nor a folder")
    files = [
        _local_file(file, file.relative_to(path).as_posix())
        for parent, _, names in os.walk(path)
        for name in names
        if (file := Path(parent, name)).is_file()
    ]
    ordered = sorted(files, key=lambda file: file.relative)
    return Source(filesystem=known, files=tuple(ordered), single=False)


def _local_file(path: Path, relative: str) -> SourceFile:
    about = path.stat()
    version = f"{about.st_mtime_ns}-{about.st_ino}"
    return SourceFile(path=str(path), relative=relative, size_bytes=about.st_size, version=version)


def _source_file(info: Mapping[str, Any], path: str, relative: str) -> SourceFile:
    told = [str(info[field]) for field in _VERSION_FIELDS if info.get(field)]
    return SourceFile(
        path=path, relative=relative, size_bytes=info.get("size"), version=told[0] if told else ""
    )


def _instance(scheme: str) -> Any:
    import fsspec  # noqa: PLC0415  a quarter of a second that the command line need not wait for

    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError:
        near = nearest(scheme, fsspec.available_protocols())
        guess = f"did you mean `{near}://`? " if near else ""
        raise UnknownScheme(
            f"nobody knows `{scheme}://`",
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
    # botocore opens 10 connections unless told. Checking CRCs of ranges costs a third of the speed
    # and fails with servers that answer with the CRC of the whole object; we check digests.
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


# URIs of places: plain paths, `file://`, whatever fsspec knows. Text only, nothing is opened.
def scheme_of(uri: str) -> str:
    """Return the scheme in lower case; a plain path has `file`."""
    scheme, mark, _ = uri.partition("://")
    return scheme.lower() if mark else "file"


def is_local(uri: str) -> bool:
    """Tell whether `uri` names something on a mounted file system."""
    return scheme_of(uri) in ("file", "local")


def local_path(uri: str) -> Path:
    """Return the absolute path that a local `uri` names.

    A plain path is taken as it is; in `file://` the percent escapes of URLs are undone.
    """
    if not is_local(uri):
        raise ValueError(f"`{redact(uri)}` is not on a mounted file system")
    _, mark, rest = uri.partition("://")
    if not mark:
        return Path(uri).expanduser().absolute()
    rest = unquote(rest)
    return Path(
        rest.removeprefix("localhost") if rest.startswith("localhost/") else rest
    ).absolute()


def local_root(uri: str) -> Path:
    """Return the folder that `storage.root` names.

    Raises:
        ConfigError: it is in a bucket or behind a server: run folders need a file system.
    """
    if not uri.strip():
        raise ConfigError(
            "`storage.root` is empty", hint="give a folder: `storage.root=/shared/me/outputs`"
        )
    if not is_local(uri):
        raise ConfigError(
            f"`storage.root={redact(uri)}`: runs cannot be kept on `{scheme_of(uri)}://` yet",
            hint="give a folder that all nodes see (`storage.root=/shared/me/outputs`); "
            "models and data may come from there: `model=s3://...`, `data=s3://...`",
        )
    return local_path(uri)
