"""`shelf://NAME`: the files of the folder NAME below the folder that `SHELF` names."""

from __future__ import annotations

import os
from pathlib import Path

from launcher.errors import StagingError
from launcher.specs import StageItem
from launcher.staging.fetcher import Fetched, FetcherRow, Workspace
from launcher.staging.selection import select

FETCHER = FetcherRow(name="shelf", factory="launcher_example.shelf:ShelfFetcher")


class ShelfFetcher:
    """Copies files. Does not resume."""

    def pin(self, item: StageItem) -> str:
        return ""

    def fetch(self, workspace: Workspace) -> Fetched:
        offered = _files(workspace.item.uri)
        chosen = select(workspace.item, offered)
        workspace.forget()
        total = sum(len(offered[name]) for name in chosen)
        workspace.expect(total)
        for name, path in chosen.items():
            workspace.check()
            target = workspace.files / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(offered[name])
            workspace.advanced(len(offered[name]))
        return Fetched(transferred_bytes=total)


def _files(uri: str) -> dict[str, bytes]:
    folder = Path(os.environ["SHELF"], uri.removeprefix("shelf://"))
    if not folder.is_dir():
        raise StagingError(f"`{uri}` does not exist", hint=f"expected the folder {folder}")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
