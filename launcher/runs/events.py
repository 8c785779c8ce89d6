"""What happened in an attempt, as typed values and as lines of `events.jsonl`.

The supervisor is the only writer. Each line is one event: its fields, and `event` with its name.
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
    """The supervisor claimed an attempt and is about to start its nodes."""

    attempt: int
    nodes: int
    world_size: int
    backend: str
    resumes_step: int | None = None
    """Step of the newest commit there is, from which this attempt goes on."""
    spent: dict[str, float] = dataclasses.field(default_factory=dict)
    """Seconds that went before it and that no attempt counts: `preflight`, `stage`."""
    job: Job | None = None
    """The batch job that the supervisor runs in, with how often that was requeued."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeStarted(Event):
    """The command of one node runs."""

    node_rank: int
    node: str
    pid: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeExited(Event):
    """The command of one node ended; the code is negative when a signal ended it."""

    node_rank: int
    node: str
    exit_code: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeLost(Event):
    """A node gives no sign of life, so that nothing can be learned of its command any more."""

    node_rank: int
    node: str
    why: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartFailed(Event):
    """A later attempt could not be started on nodes that seemed healthy a moment before."""

    why: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodesChanged(Event):
    """The attempt runs on other nodes than the one before."""

    nodes: int
    before: int
    lost: tuple[str, ...]
    joined: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What that means, in words."""
        return f"continues {self.change}"

    @property
    def change(self) -> str:
        """On what the run goes on: the end of a sentence."""
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
    """A rank's record says that it failed."""

    rank: int
    node: str
    what: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Committed(Event):
    """A checkpoint became durable."""

    step: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class HangSuspected(Event):
    """A rank made no progress for too long; the stacks of all ranks are in their logs."""

    rank: int
    node: str
    phase: str
    step: int
    silent_s: float
    limit_s: float
    stopping: bool
    """False when the program reports no steps at all, so that silence proves nothing, or when it
    went on while its stack was looked at."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StopRequested(Event):
    """The ranks were asked to save and leave."""

    reason: str
    by: str
    preempted: bool
    """True when the machine wants the nodes back: then the run ends with 75, not 130."""
    grace_s: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Killed(Event):
    """Everything that was left was ended with SIGKILL."""

    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttemptEnded(Event):
    """No process of the attempt is alive any more."""

    attempt: int
    cause: str
    step: int
    committed_step: int | None
    seconds: float
    restarting: bool
    why: str
    """One sentence: why it is restarted, or why not."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunEnded(Event):
    """The supervisor is done with the run, for now or for good."""

    state: str
    exit_code: int
    why: str = ""
    """What kept it from starting again, where that is not the failure itself."""


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
    """Return the name under which `event` stands in `events.jsonl`."""
    return _NAMES[type(event)]


def append(path: Path, event: Event) -> None:
    """Add one line. Only the supervisor of the attempt may call this."""
    line = json.dumps({"event": name_of(event), **dataclasses.asdict(event)})
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def read(path: Path) -> list[Event]:
    """Return the events of one attempt in order; what cannot be read is left out."""
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
    try:  # a last line cut short by a crash, or an event of a newer launcher, is no reason to fail
        fields: dict[str, Any] = json.loads(line)
        return from_json(KINDS[fields.pop("event")], json.dumps(fields))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
