"""`hf://org/model[@revision]` and `hf://datasets/org/name[@revision]`: the Hugging Face hub.

Its own client says what there is; the bytes come through our ranged transfer, since the client
begins a file again when its process was killed, and compares only sizes.
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
    "is there a way to the internet? `HF_ENDPOINT=https://...` names a mirror, or copy the files "
    "here and give their folder: `model=uri model.source=/path/to/folder`"
)
_HTTP_CLIENTS = ("httpx", "httpx2", "httpcore", "httpcore2", "requests")
"""What the hub's client was built on, in one version or another."""


@dataclass(frozen=True, kw_only=True)
class Repository:
    """What an `hf://` URI names."""

    kind: str
    """`model` or `dataset`, as the hub's client calls it."""
    name: str
    revision: str
    """As asked for; empty means the newest of the default branch."""


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """One file as the hub lists it."""

    path: str
    size_bytes: int
    sha256: str
    """Empty for files outside LFS."""
    blob: str
    """Git object id; it is the content's own only for files outside LFS."""


class HubFetcher:
    """Pinned by the request: a name without a revision is what it was when it was first staged."""

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
    """Return what `item` names.

    Raises:
        StagingError: the URI does not have the shape of one.
    """
    rest, _, pinned = item.uri.removeprefix("hf://").strip("/").partition("@")
    kind = "model"
    for prefix, named in (("datasets/", "dataset"), ("models/", "model")):
        if rest.startswith(prefix):
            kind, rest = named, rest.removeprefix(prefix)
    if pinned and item.revision and pinned != item.revision:
        raise StagingError(
            f"`{item.uri}` and `revision={item.revision}` name two revisions of one source",
            hint=f"give one of them for `{item.name}`",
        )
    parts = rest.split("/")
    if not 1 <= len(parts) <= 2 or not all(parts):
        raise StagingError(
            f"`{redact(item.uri)}` does not name a repository of the hub",
            hint="write `hf://org/model` or `hf://datasets/org/name`, with `@revision` if you "
            "like; folders in it are chosen with `include`",
        )
    return Repository(kind=kind, name=rest, revision=pinned or item.revision)


def _listed(repository: Repository, endpoint: str | None) -> tuple[str, list[HubFile]]:
    """Ask the hub for the commit behind the request, and for the files of exactly that commit."""
    from huggingface_hub import HfApi  # noqa: PLC0415  half a second
    from huggingface_hub.hf_api import RepoFile  # noqa: PLC0415

    hub = HfApi(endpoint=endpoint)
    revision = repository.revision or None
    found = hub.repo_info(repository.name, repo_type=repository.kind, revision=revision)
    commit = str(found.sha)
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
    """The web with the hub's credentials; they are not sent on to other hosts when redirected."""
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
    """Files that an earlier try brought from another commit must not end in this snapshot."""
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
    """Translate what the hub's client and the transfer raise."""
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
    """Return the sentence for `error`, or None when the hub has nothing to do with it."""
    from huggingface_hub import errors  # noqa: PLC0415

    name = f"hf://{'datasets/' if repository.kind == 'dataset' else ''}{repository.name}"
    said = redact(str(error)).partition("\n")[0] or type(error).__name__
    table: tuple[tuple[type[Exception], str, str], ...] = (
        (
            errors.GatedRepoError,
            f"`{name}` is gated: its terms have to be accepted first",
            "accept them on its page at the hub, then export HF_TOKEN of that account",
        ),
        (
            errors.RepositoryNotFoundError,
            f"`{name}` is not at the hub, or it is private",
            "check the name; for a private one export HF_TOKEN",
        ),
        (
            errors.RevisionNotFoundError,
            f"`{name}` has no revision `{repository.revision}`",
            "give a branch, tag or commit that its page at the hub shows",
        ),
        (
            errors.OfflineModeIsEnabled,
            f"`{name}` is not staged yet, and HF_HUB_OFFLINE forbids asking the hub",
            "unset HF_HUB_OFFLINE for staging; the ranks get it anyway",
        ),
        (errors.HFValidationError, f"`{name}` is no name that the hub could have", said),
        (errors.HfHubHTTPError, f"the hub did not give `{name}`: {said}", _MIRROR_HINT),
        (FileNotFoundError, f"the hub lists a file that it does not give: {said}", _MIRROR_HINT),
        (PermissionError, f"the hub refused a file of `{name}`: {said}", "export HF_TOKEN"),
    )
    status = getattr(getattr(error, "response", None), "status_code", None)
    for kind, message, hint in table:
        # mirrors answer a bare 404 where the hub names the kind of error
        bare = status == 404 and kind is errors.RepositoryNotFoundError
        if isinstance(error, kind) or (
            bare and not isinstance(error, errors.RevisionNotFoundError)
        ):
            return StagingError(message, hint=hint)
    if type(error).__module__.partition(".")[0] in _HTTP_CLIENTS:
        return StagingError(f"the hub could not be asked for `{name}`: {said}", hint=_MIRROR_HINT)
    return None
