"""The events of an attempt, as typed values and as lines of `events.jsonl`.

Only the supervisor writes them. Each line has the fields of one event, and its name as `event`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.specs import Job, RunLayout, from_json

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened; `at` is seconds since the epoch by the supervisor's clock."""

    at: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttemptStarted(Event):
    """The supervisor has claimed an attempt and is about to start its nodes."""

    attempt: int
    nodes: int
    world_size: int
    backend: str
    resumes_step: int | None = None
    """Step of the newest commit, from which this attempt continues."""
    spent: dict[str, float] = dataclasses.field(default_factory=dict)
    """Seconds spent before the attempt, by phase: `preflight`, `stage`."""
    job: Job | None = None
    """The batch job of the supervisor, with the number of its requeues."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeStarted(Event):
    """The command of a node was started."""

    node_rank: int
    node: str
    pid: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeExited(Event):
    """The command of a node ended. The exit code is negative if a signal ended it."""

    node_rank: int
    node: str
    exit_code: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeLost(Event):
    """A node does not answer, so the state of its command is unknown."""

    node_rank: int
    node: str
    why: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartFailed(Event):
    """A restart failed on nodes that were usable a moment before."""

    why: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodesChanged(Event):
    """The attempt runs on other nodes than the previous one."""

    nodes: int
    before: int
    lost: tuple[str, ...]
    joined: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The change as a clause: `continues with 3 of 4 nodes: without b`."""
        return f"continues {self.change}"

    @property
    def change(self) -> str:
        """The change without its verb."""
        lost, joined = ", ".join(self.lost), ", ".join(self.joined)
        if lost and joined:
            return f"with {joined} in place of {lost}: {_nodes(self.nodes)}"
        if lost:
            return f"with {self.nodes} of {_nodes(self.before)}: without {lost}"
        return f"with {joined} as well: {_nodes(self.nodes)}"


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RanksJoined(Event):
    """Every rank has written its first record."""

    ranks: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankFailed(Event):
    """The record of a rank says that it failed."""

    rank: int
    node: str
    what: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Committed(Event):
    """A checkpoint is complete and durable."""

    step: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class HangSuspected(Event):
    """A rank made no progress for too long. The stacks of all ranks are in their logs."""

    rank: int
    node: str
    phase: str
    step: int
    silent_s: float
    limit_s: float
    stopping: bool
    """False if the program reports no steps, so silence means nothing, or if it made progress while
    its stack was read."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StopRequested(Event):
    """The ranks were asked to save a checkpoint and exit."""

    reason: str
    by: str
    preempted: bool
    """True if the cluster takes the nodes back. The run then ends with 75, not 130."""
    grace_s: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Killed(Event):
    """The remaining processes were killed with SIGKILL."""

    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttemptEnded(Event):
    """All processes of the attempt have ended."""

    attempt: int
    cause: str
    step: int
    committed_step: int | None
    seconds: float
    restarting: bool
    why: str
    """Why it is restarted, or why not."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunEnded(Event):
    """The supervisor has finished its work on the run."""

    state: str
    exit_code: int
    why: str = ""
    """What prevented a restart, if not the failure itself."""


KINDS: dict[str, type[Event]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(): kind
    for kind in (
        AttemptStarted,
        NodeStarted,
        NodeExited,
        NodeLost,
        NodesChanged,
        StartFailed,
        RanksJoined,
        RankFailed,
        Committed,
        HangSuspected,
        StopRequested,
        Killed,
        AttemptEnded,
        RunEnded,
    )
}
_NAMES = {kind: name for name, kind in KINDS.items()}


def name_of(event: Event) -> str:
    """Return the name of an event in `events.jsonl`."""
    return _NAMES[type(event)]


def append(path: Path, event: Event) -> None:
    """Append one line. Only the supervisor of the attempt may call this."""
    line = json.dumps({"event": name_of(event), **dataclasses.asdict(event)})
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def read(path: Path) -> list[Event]:
    """Return the events of one attempt in order, without unreadable lines."""
    return list(_events(path))


def history(layout: RunLayout) -> list[Event]:
    """Return the events of all attempts, oldest first."""
    return [
        event
        for folder in sorted(layout.attempts.glob("[0-9]*"))
        for event in read(folder / "events.jsonl")
    ]


def _events(path: Path) -> Iterator[Event]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        event = _parse(line)
        if event is not None:
            yield event


def _parse(line: str) -> Event | None:
    try:  # a crash may cut the last line short, and a newer launcher may write other events
        fields: dict[str, Any] = json.loads(line)
        return from_json(KINDS[fields.pop("event")], json.dumps(fields))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
