"""Asking all nodes at once how they are."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from launcher.engines import BACKENDS
from launcher.nodes.facts import NodeFacts, from_answer
from launcher.specs import Node
from launcher.transports import Transport
from launcher.transports.remote import source

LAUNCHER = "hydra-torch-launcher"
PACKAGES = tuple(
    dict.fromkeys(
        (
            *(LAUNCHER, "torch", "numpy", "transformers", "datasets", "safetensors"),
            *(name for row in BACKENDS.built_in.values() for name in row.packages),
            *("nvidia-nccl-cu12", "nvidia-nccl-cu13"),
        )
    )
)
"""Packages whose versions are compared between the nodes, beside those of a backend not ours."""
_SPARE_S = 2.0
"""What a probe leaves of its time, so that its answer is back before the transport ends it."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the nodes are asked."""

    root: Path
    """The storage root."""
    ports: tuple[int, ...] = ()
    """Which of these are free?"""
    write: bool = False
    """Whether to write in the storage root, to see whether all nodes share it."""
    backend: str = "torchrun"
    """Whose packages to look for."""
    timeout_s: float = 10.0


def ask(transport: Transport, nodes: Sequence[Node], question: Question) -> tuple[NodeFacts, ...]:
    """Return what every node says of itself, in their order; never raises for a node.

    Raises:
        OSError: the storage root cannot be written from here.
    """
    with Marker(question.root, active=question.write) as marker:
        requests = {
            node.node_rank: {
                "rank": node.node_rank,
                "packages": tuple(dict.fromkeys((*PACKAGES, *BACKENDS[question.backend].packages))),
                "root": str(question.root),
                "head": nodes[0].name,
                "ports": question.ports,
                "limit_s": max(1.0, question.timeout_s - _SPARE_S),
                "marker": str(marker.folder or ""),
                "nonce": marker.nonce,
            }
            for node in nodes
        }
        asked_at = time.time()
        answers = transport.ask(source("node_probe"), requests, timeout_s=question.timeout_s)
        asked = (asked_at, time.time())
        facts = [from_answer(answers[node.node_rank], node.name, asked) for node in nodes]
        return tuple(marker.checked(each) for each in facts)


# Whether the nodes and this machine share the storage root: files left for each other.
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
