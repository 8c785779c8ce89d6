"""Whether the nodes and this machine share the storage root: files left for each other."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from launcher.survey.facts import NodeFacts

_APPEARS_WITHIN_S = 2.0  # a file that another machine wrote shows late on some network file systems
_PAUSE_S = 0.05


class Marker:
    """A folder in the storage root with a file for the nodes to read; gone again at the end.

    The file holds a number that is used once, so a copy of the folder that was synchronised to a
    node's own disk is not taken for the shared one.
    """

    def __init__(self, root: Path, *, active: bool) -> None:
        self.nonce = uuid.uuid4().hex
        self.folder = root / f".launcher-survey-{self.nonce}" if active else None

    def __enter__(self) -> Self:
        if self.folder:
            try:
                self.folder.mkdir(parents=True)
                (self.folder / "here").write_text(self.nonce, encoding="utf-8")
            except OSError:
                self._remove()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def checked(self, facts: NodeFacts) -> NodeFacts:
        """Return `facts`, with a problem if the file that the node says it wrote is not here."""
        if self.folder is None or facts.problem or _storage_failed(facts):
            return facts
        if self._appears(self.folder / str(facts.node_rank)):
            return facts
        return dataclasses.replace(facts, storage_problem="what it writes is not seen here")

    def _appears(self, path: Path) -> bool:
        deadline = time.monotonic() + _APPEARS_WITHIN_S
        while True:
            with contextlib.suppress(OSError):
                if path.read_text(encoding="utf-8") == self.nonce:
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE_S)

    def _remove(self) -> None:
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def _storage_failed(facts: NodeFacts) -> bool:
    return bool(facts.storage_problem) or "storage" in facts.problems
