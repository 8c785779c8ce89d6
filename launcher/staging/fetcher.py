"""The extension point of staging: one small Protocol, and which scheme is brought by whom."""

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
    """Where one fetch puts things, and how it is heard and stopped."""

    item: StageItem
    files: Path
    """Folder that is published when the fetch returns; it may hold what an earlier try left."""
    scratch: Path
    """Kept after a cut for the next try, thrown away after success; same file system as `files`."""
    inputs: Mapping[str, Path] = field(default_factory=dict)
    """Folders of the items in `needs`."""
    stop: threading.Event
    """Set when the work shall end: the fetch raises `Stopped` within seconds."""
    progress: OneAtATime

    def expect(self, total_bytes: int | None) -> None:
        """Tell how many bytes will come, as soon as that is known."""
        self.progress.started(self.item.name, redact(self.item.uri), total_bytes)

    def advanced(self, n_bytes: int) -> None:
        """Tell that bytes arrived."""
        self.progress.advanced(self.item.name, n_bytes)

    def forget(self) -> None:
        """Throw away what an earlier try left, because it is of no use for this one."""
        for folder in (self.files, self.scratch):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)

    def check(self) -> None:
        """Raise `Stopped` if the work shall end."""
        if self.stop.is_set():
            raise Stopped


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a fetch did."""

    transferred_bytes: int
    """Moved by this call; what an earlier, cut call had left does not count."""
    revision: str = ""
    """What the request resolved to at the source: a commit, a version."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """File -> digest, for those that were compared with what source or config promise."""


class Fetcher(Protocol):
    """Brings one kind of source.

    Two questions, because they are asked at different times: `pin` on every start, so it must be
    cheap and needs no network where the request is immutable; `fetch` only when no snapshot of
    that pin is published. Election, resuming folders, manifest and publishing are not its business.
    """

    def pin(self, item: StageItem) -> str:
        """Return what tells the present content of a mutable source from an earlier one.

        It becomes part of the snapshot's key. Empty when URI and revision say it all.

        Raises:
            StagingError: the source cannot exist, with the nearest one that does.
        """
        ...

    def fetch(self, workspace: Workspace) -> Fetched:
        """Fill `workspace.files`, completely or not at all as far as the caller is concerned.

        Raises:
            StagingError: with what to do about it; other errors are translated by the caller.
            Stopped: the workspace's `stop` was set.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class FetcherRow:
    """One row of the table: which class fetches the URIs of one scheme."""

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
