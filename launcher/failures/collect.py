"""What each witness of an attempt says: ranks by their records, nodes and hangs by the events."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path

from launcher.failures import causes
from launcher.failures.causes import Cause, FailureKind
from launcher.runs import events
from launcher.runs.logs import last_lines
from launcher.runs.records import read_plan, read_ranks
from launcher.specs import AttemptLayout, RankException, RankRecord, RankState, RunLayout

_TRACEBACK_LINES = 16
_SIGTERM_CODE = 143
_WATCHDOG = re.compile(
    r"Watchdog caught collective|ProcessGroup(NCCL|Gloo).*(timeout|abort)", re.IGNORECASE
)
_CONSEQUENCES = frozenset({FailureKind.CONNECTION, FailureKind.RENDEZVOUS})


class Weight(IntEnum):
    """How much a failure explains; the smallest is told first."""

    CAUSE = 0
    FROM_OUTSIDE = 1
    """SIGTERM by somebody else; only if nothing failed before it."""
    CONSEQUENCE = 2
    """What happens to ranks whose peer is gone."""
    STOPPED = 3
    """Ended because the run was being stopped: never a first failure."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Something that failed in an attempt."""

    cause: Cause
    weight: Weight
    at: float
    rank: int | None
    node_rank: int
    node: str
    text: str
    """In one line, to fold it with others that say the same."""
    detail: str
    quote: str = ""
    """What the program itself said about it."""


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """What an attempt left behind."""

    layout: AttemptLayout
    records: list[RankRecord]
    events: list[events.Event]

    @property
    def stopped_at(self) -> float:
        """When everything was first told to end; what ends later ends because of that."""
        times = [
            event.at
            for event in self.events
            if isinstance(event, events.StopRequested | events.Killed)
        ]
        return min(times, default=float("inf"))


def testimonies(layout: RunLayout, number: int) -> list[Failure]:
    """Return everything that failed in the attempt, in no order."""
    folder = layout.attempt(number)
    seen = _Attempt(
        layout=folder, records=read_ranks(layout, number), events=events.read(folder.events)
    )
    found = [
        failure for record in seen.records if (failure := _of_record(record, seen)) is not None
    ]
    found += _of_lost_nodes(seen)
    found += _of_starts(layout, seen)
    found += _of_nodes(seen, found)
    found += _silent_ranks(layout, seen, found)
    found += _hangs(seen)
    return found


def _of_record(record: RankRecord, seen: _Attempt) -> Failure | None:
    left_on_purpose = record.exception is not None and record.exception.kind == "SystemExit"
    if record.exception is not None and not left_on_purpose:
        return _of_exception(record, record.exception, seen)
    if record.state is not RankState.FAILED and not left_on_purpose:
        return None
    number = record.signal or (signal.SIGTERM if record.exit_code == _SIGTERM_CODE else None)
    if number is not None:
        return _of_signal(record, number, seen)
    return _rank_failure(
        record,
        cause=causes.of_exit_code(record.exit_code or 1),
        weight=Weight.CAUSE,
        at=record.exception.at if record.exception else record.heartbeat_at,
        text=f"exit code {record.exit_code}",
        detail="\n".join(_log_of(record, seen)),
    )


def _of_exception(record: RankRecord, error: RankException, seen: _Attempt) -> Failure:
    cause = causes.of_exception(error.kind, error.message, error.traceback)
    weight = Weight.CONSEQUENCE if cause.kind in _CONSEQUENCES else Weight.CAUSE
    if cause.kind is FailureKind.TERMINATED:
        weight = _of_ending(error.at, seen)
    said = in_one_line(error.kind, error.message)
    failure = _rank_failure(
        record,
        cause=cause,
        weight=weight,
        at=error.at,
        text=said,
        detail=shorten(error.traceback, _TRACEBACK_LINES),
    )
    return replace(failure, quote=said)


def _of_signal(record: RankRecord, number: int, seen: _Attempt) -> Failure:
    log = _log_of(record, seen)
    cause, weight = causes.of_signal(number), Weight.CAUSE
    if number == signal.SIGABRT and any(_WATCHDOG.search(line) for line in log):
        cause, weight = causes.LOST_PEER, Weight.CONSEQUENCE
    elif number in (signal.SIGKILL, signal.SIGTERM):  # what the supervisor and the agents send
        weight = _of_ending(record.heartbeat_at, seen, harsh=number == signal.SIGKILL)
    return _rank_failure(
        record,
        cause=cause,
        weight=weight,
        at=record.heartbeat_at,
        text=f"ended by {causes.signal_name(number)}",
        detail="\n".join(log),
    )


def _log_of(record: RankRecord, seen: _Attempt) -> list[str]:
    return last_lines(seen.layout.rank_log(record.node_rank, record.rank), LOG_LINES)


def _of_ending(at: float, seen: _Attempt, *, harsh: bool = False) -> Weight:
    """Weigh an end by SIGTERM or SIGKILL: ours if it came once everything was told to end."""
    if at >= seen.stopped_at - 0.5:  # records are written a moment before the event is, or after
        return Weight.STOPPED
    return Weight.CAUSE if harsh else Weight.FROM_OUTSIDE


def _rank_failure(
    record: RankRecord, *, cause: Cause, weight: Weight, at: float, text: str, detail: str
) -> Failure:
    return Failure(
        cause=cause,
        weight=weight,
        at=at,
        rank=record.rank,
        node_rank=record.node_rank,
        node=record.node,
        text=text,
        detail=detail,
    )


def _of_lost_nodes(seen: _Attempt) -> list[Failure]:
    """Nodes that went away: at the time of their last sign of life, before all that followed."""
    return [
        Failure(
            cause=causes.lost_node(event.why),
            weight=Weight.CAUSE,
            at=_last_heartbeat(event, seen),
            rank=None,
            node_rank=event.node_rank,
            node=event.node,
            text="the node was lost",
            detail="",
        )
        for event in seen.events
        if isinstance(event, events.NodeLost)
    ]


def _of_starts(layout: RunLayout, seen: _Attempt) -> list[Failure]:
    plan = read_plan(layout, int(seen.layout.path.name))
    return [
        Failure(
            cause=causes.START_FAILED,
            weight=Weight.CAUSE,
            at=event.at,
            rank=None,
            node_rank=0,
            node=plan.cluster.head.name if plan else "",
            text="the attempt could not be started",
            detail=event.why,
        )
        for event in seen.events
        if isinstance(event, events.StartFailed)
    ]


def _last_heartbeat(event: events.NodeLost, seen: _Attempt) -> float:
    beats = [each.heartbeat_at for each in seen.records if each.node_rank == event.node_rank]
    return min(max(beats, default=event.at), event.at)


def _of_nodes(seen: _Attempt, told: Sequence[Failure]) -> list[Failure]:
    """Agents that ended badly although none of their ranks says why."""
    explained = {failure.node_rank for failure in told}
    return [
        _of_node(event, seen)
        for event in seen.events
        if isinstance(event, events.NodeExited)
        and event.exit_code != 0
        and event.node_rank not in explained
    ]


def _of_node(event: events.NodeExited, seen: _Attempt) -> Failure:
    log = seen.layout.node_log(event.node_rank)
    lines = last_lines(log, 400)
    late = event.at >= seen.stopped_at
    if event.exit_code < 0:
        name = causes.signal_name(-event.exit_code)
        cause = Cause(
            kind=FailureKind.AGENT_LOST,
            sentence=f"lost its agent to {name}: all ranks of the node went with it",
            next_step="look at the node: was it shut down, out of memory (`dmesg`), or did "
            "somebody end the process?",
        )
        return _node_failure(event, cause, Weight.STOPPED if late else Weight.CAUSE, lines)
    error = exception_in(lines)
    cause = causes.of_exception(*error) if error else causes.of_exit_code(event.exit_code)
    if cause.kind in (FailureKind.EXCEPTION, FailureKind.EXIT_CODE, FailureKind.CONFIG):
        cause = Cause(
            kind=FailureKind.NEVER_STARTED,
            sentence=f"did not get its ranks going: its agent left with code {event.exit_code}",
            next_step=f"its log says more: {log}",
        )
    weight = Weight.CONSEQUENCE if cause.kind in _CONSEQUENCES else Weight.CAUSE
    if late and not error:
        weight = Weight.STOPPED
    return _node_failure(event, cause, weight, lines)


def _node_failure(
    event: events.NodeExited, cause: Cause, weight: Weight, lines: list[str]
) -> Failure:
    return Failure(
        cause=cause,
        weight=weight,
        at=event.at,
        rank=None,
        node_rank=event.node_rank,
        node=event.node,
        text=f"the agent {_ended_by(event.exit_code)}",
        detail=shorten("\n".join(from_traceback(lines)), _TRACEBACK_LINES),
    )


def _ended_by(exit_code: int) -> str:
    if exit_code < 0:
        return f"was ended by {causes.signal_name(-exit_code)}"
    return f"left with exit code {exit_code}"


def _silent_ranks(layout: RunLayout, seen: _Attempt, told: Sequence[Failure]) -> list[Failure]:
    """Ranks that never wrote a record, although nothing failed and their agent left in peace."""
    plan = read_plan(layout, int(seen.layout.path.name))
    left = {event.node_rank for event in seen.events if isinstance(event, events.NodeExited)}
    if plan is None or told or any(_was_stopped(event) for event in seen.events):
        return []
    reported = {record.rank for record in seen.records}
    return [
        Failure(
            cause=Cause(
                kind=FailureKind.NEVER_STARTED,
                sentence="never reported that it started",
                next_step="the log of its agent says more",
            ),
            weight=Weight.CAUSE,
            at=0.0,
            rank=place.rank,
            node_rank=place.node.node_rank,
            node=place.node.name,
            text="no record",
            detail="\n".join(last_lines(seen.layout.node_log(place.node.node_rank), LOG_LINES)),
        )
        for place in plan.cluster.places()
        if place.rank not in reported and place.node.node_rank in left
    ]


def _hangs(seen: _Attempt) -> list[Failure]:
    found = [
        event for event in seen.events if isinstance(event, events.HangSuspected) and event.stopping
    ]
    return [_hang(found[-1], seen)] if found else []


def _hang(event: events.HangSuspected, seen: _Attempt) -> Failure:
    """Blame the rank that is not itself waiting for others, if the stacks tell one."""
    dumps = {
        record.rank: last_stack(seen.layout.rank_log(record.node_rank, record.rank))
        for record in seen.records
    }
    busy = [rank for rank, stack in dumps.items() if stack and not waits_for_others(stack)]
    rank = busy[0] if busy and event.rank not in busy else event.rank
    record = next((each for each in seen.records if each.rank == rank), None)
    waiting = " while the others wait for it" if rank in busy and len(busy) < len(dumps) else ""
    stack = dumps.get(rank, [])[:_TRACEBACK_LINES]
    return Failure(
        cause=Cause(
            kind=FailureKind.HANG,
            sentence=f"hangs{waiting}: nothing happened for {event.silent_s:.0f} s in phase "
            f"`{event.phase}` after step {event.step} (allowed: {event.limit_s:.0f} s)",
            next_step="the stack shows where it stood, innermost call first; if such a pause is "
            "normal there, raise supervise.hang_timeout_s=",
        ),
        weight=Weight.CAUSE,
        at=event.at - event.silent_s,
        rank=rank,
        node_rank=record.node_rank if record else 0,
        node=record.node if record else event.node,
        text=f"no progress for {event.silent_s:.0f} s",
        detail="\n".join(stack)
        or "it wrote no stack when asked for one: it hangs in the kernel, "
        "or its process is stopped",
    )


def _was_stopped(event: events.Event) -> bool:
    return isinstance(event, events.StopRequested | events.Killed)


# Stacks that faulthandler wrote into a rank's log, on request or at a crash.
_HEAD = re.compile(r"^(Current thread|Thread) 0x[0-9a-f]+.*\(most recent call first\):")
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)$')
_WAITING = re.compile(
    r"distributed[/_]|all_reduce|all_gather|barrier|broadcast|reduce_scatter|torch/autograd/graph|"
    r"engines?[/_]|vote_result|nccl|gloo",
    re.IGNORECASE,
)
_OURS = re.compile(r"launcher/runtime/|<frozen runpy>|/runpy\.py|/multiprocessing/|/threading\.py")
_TAIL_BYTES = 256 * 1024


def last_stack(log: Path) -> list[str]:
    """Return the main thread's stack of the last dump in `log`, innermost frame first.

    faulthandler writes other threads first; the one that runs the program is the deepest that
    is not ours, in practice the last of a dump.
    """
    stacks: list[list[str]] = []
    inside = False
    for line in _tail(log):
        if _HEAD.match(line):
            stacks.append([])
            inside = True
        elif inside and _FRAME.match(line):
            stacks[-1].append(line)
        else:
            inside = False
    useful = [stack for stack in stacks if any(not _OURS.search(frame) for frame in stack)]
    return [line for line in useful[-1] if not _OURS.search(line)] if useful else []


def waits_for_others(stack: list[str]) -> bool:
    """Return whether the innermost frames are those of a collective: such a rank is no culprit."""
    return any(_WAITING.search(line) for line in stack[:4])


def _tail(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


# The part of a traceback, a log or a list that a person wants to see.
LOG_LINES = 10
"""Lines of a log that are shown where nothing better is known."""


def in_short(numbers: Sequence[int]) -> str:
    """Return `0-3, 7` for 0, 1, 2, 3, 7."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def shorten(traceback: str, limit: int) -> str:
    """Return the last exception of a chain, with its innermost frames if it has too many lines."""
    lines = [line[:160] for line in traceback.rstrip().splitlines()]
    starts = [i for i, line in enumerate(lines) if line.startswith("Traceback (most recent")]
    if starts:
        lines = lines[starts[-1] :]
    if len(lines) <= limit:
        return "\n".join(lines)
    left_out = len(lines) - limit + 1
    return "\n".join([lines[0], f"  ... {left_out} lines left out ...", *lines[-(limit - 2) :]])


_CPP_PLACE = re.compile(r"^\[/[^\]]*\] ")
"""Where in torch's C++ sources an error was raised: long, and no use to who reads it."""


def in_one_line(kind: str, message: str) -> str:
    """Return an exception as `Kind: message`, cut to what fits a line or two."""
    return f"{kind}: {_CPP_PLACE.sub('', first_line(message))}".rstrip(": ")[:200]


def first_line(text: str) -> str:
    """Return the first line of a message."""
    lines = text.strip().splitlines()
    return lines[0] if lines else ""


def from_traceback(lines: list[str]) -> list[str]:
    """Return the lines from the last traceback on, or the last few if there is none."""
    starts = [i for i, line in enumerate(lines) if "Traceback (most recent call last)" in line]
    return lines[starts[-1] :] if starts else lines[-LOG_LINES:]


def exception_in(lines: list[str]) -> tuple[str, str] | None:
    """Return class and message of the last exception in a log."""
    for line in reversed(from_traceback(lines)):
        found = re.match(
            r"^(?:\[[^\]]*\]:? ?)?([A-Za-z_][\w.]*(?:Error|Exception|Exit)): (.*)", line
        )
        if found:
            return found.group(1), found.group(2)
    return None
