"""The extension point of staging: the `Fetcher` protocol, and the table of fetchers by scheme."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from launcher.errors import StagingError
from launcher.extensions import Table, load
from launcher.specs import StageItem
from launcher.specs.secrets import redact
from launcher.staging.progress import OneAtATime
from launcher.storage import Stopped, has_filesystem, scheme_of

__all__ = ["FETCHERS", "Fetched", "Fetcher", "FetcherRow", "Workspace", "fetcher_for"]


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """The folders of one fetch, its progress, and its stop."""

    item: StageItem
    files: Path
    """Folder that is published when the fetch returns. It may have files of an earlier try."""
    scratch: Path
    """Folder for temporary files, on the file system of `files`. It is kept for the next try if
    the fetch fails, and deleted after success."""
    inputs: Mapping[str, Path] = field(default_factory=dict)
    """Folders of the items in `needs`."""
    stop: threading.Event
    """If set, the fetch must raise `Stopped` within seconds."""
    progress: OneAtATime

    def expect(self, total_bytes: int | None) -> None:
        """Report how many bytes will arrive, as soon as that is known."""
        self.progress.started(self.item.name, redact(self.item.uri), total_bytes)

    def advanced(self, n_bytes: int) -> None:
        """Report that bytes arrived."""
        self.progress.advanced(self.item.name, n_bytes)

    def forget(self) -> None:
        """Delete the files of an earlier try."""
        for folder in (self.files, self.scratch):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)

    def check(self) -> None:
        """Raise `Stopped` if `stop` is set."""
        if self.stop.is_set():
            raise Stopped


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """The result of a fetch."""

    transferred_bytes: int
    """Bytes of this call, without those of an earlier, interrupted call."""
    revision: str = ""
    """The commit or version that the source gave for the request."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """File -> digest, for the files whose digest was compared with the source or the config."""


class Fetcher(Protocol):
    """Transfers the files of one kind of source.

    The two methods run at different times. `pin` runs on every start, so it must be fast; it needs
    no network if the request is immutable. `fetch` runs only if that pin is not staged yet. The
    caller does the rest: one process at a time, manifest, publication.
    """

    def pin(self, item: StageItem) -> str:
        """Return a text that changes when the content of the source changes.

        It becomes part of the key of the staged folder. Empty if URI and revision are enough.

        Raises:
            StagingError: the source cannot exist; the hint has the nearest one that does.
        """
        ...

    def fetch(self, workspace: Workspace) -> Fetched:
        """Write all files of the item to `workspace.files`, or raise.

        Raises:
            StagingError: the fetch failed. The caller converts other errors.
            Stopped: `stop` of the workspace was set.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class FetcherRow:
    """One row of the table: the class that fetches the URIs of a scheme."""

    name: str
    """The scheme, without `://`."""
    factory: str
    """`module:Class` of the fetcher, imported on first use."""


FETCHERS = Table(
    "fetcher",
    [
        FetcherRow(name="build", factory="launcher.staging.build:BuildFetcher"),
        FetcherRow(name="hf", factory="launcher.staging.hub:HubFetcher"),
        FetcherRow(name="pypi", factory="launcher.staging.pypi:PypiFetcher"),
    ],
    row_type=FetcherRow,
    group="launcher.fetchers",
)
FILESYSTEM = FetcherRow(name="*", factory="launcher.staging.filesystem:FilesystemFetcher")
"""Fetches every scheme that fsspec knows, and plain paths."""


def fetcher_for(uri: str) -> Fetcher:
    """Return the fetcher of the scheme of `uri`.

    The order is: our own rows, what fsspec knows, then the rows of installed packages. So an
    installed package adds a scheme and never changes one, and the search for packages, which takes
    20 ms, happens only for a scheme that nothing else handles.

    Raises:
        StagingError: a package that the fetcher needs is missing.
        ConfigError: an installed package declares the scheme, and its row cannot be loaded.
    """
    scheme = scheme_of(uri)
    ours = scheme in FETCHERS.built_in
    row = FETCHERS[scheme] if ours or _is_added(scheme) else FILESYSTEM
    try:
        return cast(Fetcher, load(row.factory)())
    except ImportError as error:
        raise StagingError(
            f"`{scheme}://` needs the package `{error.name}`, which is not installed",
            hint=f"`python -m pip install {error.name}`",
        ) from error


def _is_added(scheme: str) -> bool:
    return not has_filesystem(scheme) and scheme in FETCHERS
