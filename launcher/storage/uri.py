"""URIs of places: plain paths, `file://`, whatever fsspec knows. Text only, nothing is opened."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from launcher.errors import ConfigError
from launcher.specs.secrets import redact

__all__ = ["is_local", "local_path", "local_root", "scheme_of"]


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


def local_root(uri: str, cwd: Path | None = None) -> Path:
    """Return the absolute folder that `storage.root` names; a relative one starts at `cwd`.

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
    path = local_path(uri) if "://" in uri else Path(uri).expanduser()
    return ((cwd or Path.cwd()) / path).resolve()
