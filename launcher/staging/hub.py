"""`hf://org/model[@revision]` and `hf://datasets/org/name[@revision]`: the Hugging Face hub.

The client of the hub lists the files. Our own transfer downloads them, because the client starts a
file again after its process was killed, and compares only sizes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.errors import LauncherError, StagingError
from launcher.specs import StageItem
from launcher.specs.secrets import redact
from launcher.staging.failures import require_room
from launcher.staging.fetcher import Fetched, Workspace
from launcher.staging.selection import expect_git_blob, expect_sha256, inside, select
from launcher.storage import Download, Stopped, StorageError, download, filesystem

__all__ = ["HubFetcher"]

_MIRROR_HINT = (
    "check the internet access; set `HF_ENDPOINT=https://...` to a mirror, or copy the files "
    "here and use their folder: `model=uri model.source=/path/to/folder`"
)
_HTTP_CLIENTS = ("httpx", "httpx2", "httpcore", "httpcore2", "requests")
"""HTTP libraries of the versions of the hub's client."""


@dataclass(frozen=True, kw_only=True)
class Repository:
    """The repository of an `hf://` URI."""

    kind: str
    """`model` or `dataset`, as in the hub's client."""
    name: str
    revision: str
    """The requested revision; empty means the newest of the default branch."""


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """One file in the listing of the hub."""

    path: str
    size_bytes: int
    sha256: str
    """Empty for files outside LFS."""
    blob: str
    """Git object id. For files in LFS it is not the id of the content."""


class HubFetcher:
    """Needs no pin: a name without a revision means the commit of the first staging."""

    def pin(self, item: StageItem) -> str:
        parse(item)
        return ""

    def fetch(self, workspace: Workspace) -> Fetched:
        item = workspace.item
        repository = parse(item)
        endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
        with _explained(repository):
            commit, files = _listed(repository, endpoint)
        workspace.check()
        _forget_other_commits(workspace, commit)
        targets = select(item, (file.path for file in files))
        chosen = [file for file in files if file.path in targets]
        wanted = [
            Download(
                path=_address(repository, file.path, commit, endpoint),
                destination=inside(workspace.files, targets[file.path]),
                size_bytes=file.size_bytes,
                version=f"{commit}:{file.blob}:{file.sha256}",
                verify=_verifier(file),
            )
            for file in chosen
        ]
        total = sum(file.size_bytes for file in chosen)
        workspace.expect(total)
        require_room(item, total - _on_disk(workspace), where=workspace.files)
        with _explained(repository):
            transferred = download(
                _web(),
                wanted,
                scratch=workspace.scratch,
                stop=workspace.stop,
                advanced=workspace.advanced,
            )
        digests = {targets[file.path]: file.sha256 for file in chosen if file.sha256}
        return Fetched(transferred_bytes=transferred, revision=commit, sha256=digests)


def parse(item: StageItem) -> Repository:
    """Return the repository of `item`.

    Raises:
        StagingError: the URI does not have the form of a repository.
    """
    rest, _, pinned = item.uri.removeprefix("hf://").strip("/").partition("@")
    kind = "model"
    for prefix, prefix_kind in (("datasets/", "dataset"), ("models/", "model")):
        if rest.startswith(prefix):
            kind, rest = prefix_kind, rest.removeprefix(prefix)
    if pinned and item.revision and pinned != item.revision:
        raise StagingError(
            f"`{item.uri}` and `revision={item.revision}` name two revisions of one source",
            hint=f"use one of them for `{item.name}`",
        )
    parts = rest.split("/")
    if not 1 <= len(parts) <= 2 or not all(parts):
        raise StagingError(
            f"`{redact(item.uri)}` does not name a repository of the hub",
            hint="write `hf://org/model` or `hf://datasets/org/name`, optionally with `@revision`; "
            "select folders in it with `include`",
        )
    return Repository(kind=kind, name=rest, revision=pinned or item.revision)


def _listed(repository: Repository, endpoint: str | None) -> tuple[str, list[HubFile]]:
    """Return the commit of the request, and the files of that commit."""
    from huggingface_hub import HfApi  # noqa: PLC0415  takes half a second
    from huggingface_hub.hf_api import RepoFile  # noqa: PLC0415

    hub = HfApi(endpoint=endpoint)
    revision = repository.revision or None
    info = hub.repo_info(repository.name, repo_type=repository.kind, revision=revision)
    commit = str(info.sha)
    tree = hub.list_repo_tree(
        repository.name, recursive=True, revision=commit, repo_type=repository.kind
    )
    return commit, [_hub_file(entry) for entry in tree if isinstance(entry, RepoFile)]


def _hub_file(entry: Any) -> HubFile:
    sha256 = entry.lfs.sha256 if entry.lfs else ""
    size = entry.lfs.size if entry.lfs else entry.size
    return HubFile(path=entry.path, size_bytes=size, sha256=sha256, blob=entry.blob_id or "")


def _address(repository: Repository, path: str, commit: str, endpoint: str | None) -> str:
    from huggingface_hub import hf_hub_url  # noqa: PLC0415

    return str(
        hf_hub_url(
            repository.name, path, repo_type=repository.kind, revision=commit, endpoint=endpoint
        )
    )


def _web() -> Any:
    """Return the web file system with the hub's credentials. Redirects do not get them."""
    from huggingface_hub import get_token  # noqa: PLC0415

    token = get_token()
    known, _ = filesystem("https://", headers={"Authorization": f"Bearer {token}"} if token else {})
    return known


def _verifier(file: HubFile) -> Callable[[Path], None] | None:
    if file.sha256:
        return lambda path: expect_sha256(path, file.sha256, file.path)
    if len(file.blob) == 40:
        return lambda path: expect_git_blob(path, file.blob, file.path)
    return None


def _forget_other_commits(workspace: Workspace, commit: str) -> None:
    """Delete the files of an earlier try that are of another commit."""
    marker = workspace.scratch / "commit"
    workspace.scratch.mkdir(parents=True, exist_ok=True)
    if not marker.exists() or marker.read_text(encoding="ascii") != commit:
        workspace.forget()
        marker.write_text(commit, encoding="ascii")


def _on_disk(workspace: Workspace) -> int:
    files = (*workspace.files.rglob("*"), *workspace.scratch.glob("*.part"))
    return sum(file.stat().st_blocks * 512 for file in files if file.is_file())


@contextmanager
def _explained(repository: Repository) -> Iterator[None]:
    """Convert the errors of the hub's client and of the transfer."""
    try:
        yield
    except (LauncherError, Stopped, StorageError):
        raise
    except Exception as error:
        explained = _explain(repository, error)
        if explained is None:
            raise
        raise explained from error


def _explain(repository: Repository, error: Exception) -> StagingError | None:
    """Return the error to show for `error`, or None if it is not about the hub."""
    from huggingface_hub import errors  # noqa: PLC0415

    name = f"hf://{'datasets/' if repository.kind == 'dataset' else ''}{repository.name}"
    reason = redact(str(error)).partition("\n")[0] or type(error).__name__
    table: tuple[tuple[type[Exception], str, str], ...] = (
        (
            errors.GatedRepoError,
            f"`{name}` is gated: you must accept its terms first",
            "accept them on its page at the hub, then export HF_TOKEN of that account",
        ),
        (
            errors.RepositoryNotFoundError,
            f"`{name}` is not at the hub, or it is private",
            "check the name; if it is private, export HF_TOKEN",
        ),
        (
            errors.RevisionNotFoundError,
            f"`{name}` has no revision `{repository.revision}`",
            "use a branch, tag or commit from its page at the hub",
        ),
        (
            errors.OfflineModeIsEnabled,
            f"`{name}` is not staged yet, and HF_HUB_OFFLINE forbids asking the hub",
            "unset HF_HUB_OFFLINE for this command; the launcher sets it for the ranks",
        ),
        (errors.HFValidationError, f"`{name}` is not a valid name at the hub", reason),
        (errors.HfHubHTTPError, f"the hub did not deliver `{name}`: {reason}", _MIRROR_HINT),
        (FileNotFoundError, f"the hub did not deliver a file: {reason}", _MIRROR_HINT),
        (PermissionError, f"the hub refused a file of `{name}`: {reason}", "export HF_TOKEN"),
    )
    status = getattr(getattr(error, "response", None), "status_code", None)
    for kind, message, hint in table:
        # mirrors return only status 404 where the hub names the kind of error
        bare = status == 404 and kind is errors.RepositoryNotFoundError
        if isinstance(error, kind) or (
            bare and not isinstance(error, errors.RevisionNotFoundError)
        ):
            return StagingError(message, hint=hint)
    if type(error).__module__.partition(".")[0] in _HTTP_CLIENTS:
        return StagingError(f"the hub could not be asked for `{name}`: {reason}", hint=_MIRROR_HINT)
    return None
