"""Everything that failed in an attempt: ranks by their records, nodes and hangs by the events."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from launcher import processes
from launcher.disk import free_bytes
from launcher.failures import causes
from launcher.failures.causes import Cause, FailureKind
from launcher.failures.excerpts import (
    LOG_LINES,
    exception_in,
    from_traceback,
    in_one_line,
    last_stack,
    shorten,
    waits_for_others,
)
from launcher.runs import events
from launcher.runs.logs import last_lines
from launcher.runs.records import read_plan, read_ranks
from launcher.specs import AttemptLayout, Plan, RankException, RankRecord, RankState, RunLayout

_SIGTERM_CODE = 143
_A_RECORD = 16 * 1024
"""Bytes that an agent needs on the disk to write how its ranks ended."""
_WATCHDOG = re.compile(
    r"Watchdog caught collective|ProcessGroup(NCCL|Gloo).*(timeout|abort)", re.IGNORECASE
)
_CONSEQUENCES = frozenset({FailureKind.CONNECTION, FailureKind.RENDEZVOUS})


class Weight(IntEnum):
    """How much a failure explains; the smallest value explains most."""

    CAUSE = 0
    FROM_OUTSIDE = 1
    """SIGTERM from outside: a cause only if nothing failed before it."""
    CONSEQUENCE = 2
    """What happens to ranks after another one has ended."""
    STOPPED = 3
    """Ended because the run was being stopped: never the root cause."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One failed rank or node of an attempt."""

    cause: Cause
    weight: Weight
    at: float
    rank: int | None
    node_rank: int
    node: str
    text: str
    """The failure in one line, to group it with equal ones."""
    detail: str
    quote: str = ""
    """What the program itself reported."""


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """What an attempt has left in its folder."""

    layout: AttemptLayout
    plan: Plan | None
    records: list[RankRecord]
    events: list[events.Event]

    @property
    def stopped_at(self) -> float:
        """When all processes were first asked to end: whatever ends later ends for that reason."""
        times = [
            event.at
            for event in self.events
            if isinstance(event, events.StopRequested | events.Killed)
        ]
        return min(times, default=float("inf"))

    def log_of(self, record: RankRecord) -> list[str]:
        return last_lines(self.layout.rank_log(record.node_rank, record.rank), LOG_LINES)


def collect(layout: RunLayout, number: int) -> list[Evidence]:
    """Return everything that failed in an attempt, in no particular order."""
    folder = layout.attempt(number)
    attempt = _Attempt(
        layout=folder,
        plan=read_plan(layout, number),
        records=read_ranks(layout, number),
        events=events.read(folder.events),
    )
    found = [each for record in attempt.records if (each := _of_record(record, attempt))]
    found += _lost_nodes(attempt)
    found += _failed_starts(attempt)
    found += _failed_agents(attempt, {each.node_rank for each in found})
    if not found:
        found += _silent_ranks(attempt)
    found += _hangs(attempt)
    return found


def _of_record(record: RankRecord, attempt: _Attempt) -> Evidence | None:
    exits = record.exception is not None and record.exception.kind == "SystemExit"
    if record.exception is not None and not exits:
        return _of_exception(record, record.exception, attempt)
    if record.state is not RankState.FAILED and not exits:
        return None
    number = record.signal or (signal.SIGTERM if record.exit_code == _SIGTERM_CODE else None)
    if number is not None:
        return _of_signal(record, number, attempt)
    return _of_rank(
        record,
        cause=causes.of_exit_code(record.exit_code or 1),
        weight=Weight.CAUSE,
        at=record.exception.at if record.exception else record.heartbeat_at,
        text=f"exit code {record.exit_code}",
        detail="\n".join(attempt.log_of(record)),
    )


def _of_exception(record: RankRecord, error: RankException, attempt: _Attempt) -> Evidence:
    cause = causes.of_exception(error.kind, error.message, error.traceback)
    weight = Weight.CONSEQUENCE if cause.kind in _CONSEQUENCES else Weight.CAUSE
    if cause.kind is FailureKind.TERMINATED:
        weight = _weight_of_signal(error.at, attempt)
    text = in_one_line(error.kind, error.message)
    detail = shorten(error.traceback)
    evidence = _of_rank(record, cause=cause, weight=weight, at=error.at, text=text, detail=detail)
    return replace(evidence, quote=text)


def _of_signal(record: RankRecord, number: int, attempt: _Attempt) -> Evidence:
    log = attempt.log_of(record)
    cause, weight = causes.of_signal(number), Weight.CAUSE
    if number == signal.SIGABRT and any(_WATCHDOG.search(line) for line in log):
        cause, weight = causes.LOST_PEER, Weight.CONSEQUENCE
    elif number in (signal.SIGKILL, signal.SIGTERM):  # the supervisor and the agents send these
        weight = _weight_of_signal(record.heartbeat_at, attempt, killed=number == signal.SIGKILL)
    return _of_rank(
        record,
        cause=cause,
        weight=weight,
        at=record.heartbeat_at,
        text=f"ended by {processes.signal_name(number)}",
        detail="\n".join(log),
    )


def _weight_of_signal(at: float, attempt: _Attempt, *, killed: bool = False) -> Weight:
    """Return the weight of SIGTERM or SIGKILL: it is ours if all processes were asked to end."""
    if at >= attempt.stopped_at - 0.5:  # the record may be written a moment before the event
        return Weight.STOPPED
    return Weight.CAUSE if killed else Weight.FROM_OUTSIDE


def _of_rank(
    record: RankRecord, *, cause: Cause, weight: Weight, at: float, text: str, detail: str
) -> Evidence:
    return Evidence(
        cause=cause,
        weight=weight,
        at=at,
        rank=record.rank,
        node_rank=record.node_rank,
        node=record.node,
        text=text,
        detail=detail,
    )


def _lost_nodes(attempt: _Attempt) -> Iterator[Evidence]:
    """Yield the lost nodes, with the time of their last heartbeat, before all consequences."""
    for event in attempt.events:
        if isinstance(event, events.NodeLost):
            beats = [
                each.heartbeat_at for each in attempt.records if each.node_rank == event.node_rank
            ]
            yield Evidence(
                cause=causes.lost_node(event.why),
                weight=Weight.CAUSE,
                at=min(max(beats, default=event.at), event.at),
                rank=None,
                node_rank=event.node_rank,
                node=event.node,
                text="the node was lost",
                detail="",
            )


def _failed_starts(attempt: _Attempt) -> Iterator[Evidence]:
    for event in attempt.events:
        if isinstance(event, events.StartFailed):
            yield Evidence(
                cause=causes.START_FAILED,
                weight=Weight.CAUSE,
                at=event.at,
                rank=None,
                node_rank=0,
                node=attempt.plan.cluster.head.name if attempt.plan else "",
                text="the attempt could not be started",
                detail=event.why,
            )


def _failed_agents(attempt: _Attempt, explained: set[int]) -> Iterator[Evidence]:
    """Yield the agents that failed on nodes that no other evidence explains."""
    for event in attempt.events:
        if (
            isinstance(event, events.NodeExited)
            and event.exit_code != 0
            and event.node_rank not in explained
        ):
            yield _of_agent(event, attempt)


def _of_agent(event: events.NodeExited, attempt: _Attempt) -> Evidence:
    log = attempt.layout.node_log(event.node_rank)
    lines = last_lines(log, 400)
    late = event.at >= attempt.stopped_at
    error = exception_in(lines) if event.exit_code > 0 else None
    if event.exit_code < 0:
        name = processes.signal_name(-event.exit_code)
        ended = f"was ended by {name}"
        cause = Cause(
            kind=FailureKind.AGENT_LOST,
            sentence=f"lost its agent to {name}, and with it all its ranks",
            next_step="check the node: a shutdown, no memory left (`dmesg`), or another user or "
            "program that killed the process?",
        )
    else:
        ended = f"exited with code {event.exit_code}"
        cause = causes.of_exception(*error) if error else causes.of_exit_code(event.exit_code)
        if not error and free_bytes(log.parent) < _A_RECORD:  # so it could not write why
            cause = causes.of_exception("OSError", os.strerror(errno.ENOSPC))
        if cause.kind in (FailureKind.EXCEPTION, FailureKind.EXIT_CODE, FailureKind.CONFIG):
            cause = Cause(
                kind=FailureKind.NEVER_STARTED,
                sentence=f"could not start its ranks: its agent {ended}",
                next_step=f"see its log: {log}",
            )
    weight = Weight.CONSEQUENCE if cause.kind in _CONSEQUENCES else Weight.CAUSE
    return Evidence(
        cause=cause,
        weight=Weight.STOPPED if late and not error else weight,
        at=event.at,
        rank=None,
        node_rank=event.node_rank,
        node=event.node,
        text=f"the agent {ended}",
        detail=shorten("\n".join(from_traceback(lines))),
    )


def _silent_ranks(attempt: _Attempt) -> Iterator[Evidence]:
    """Yield the ranks that wrote no record although their agent ended without an error."""
    if attempt.plan is None or attempt.stopped_at < float("inf"):
        return
    ended = {each.node_rank for each in attempt.events if isinstance(each, events.NodeExited)}
    reported = {record.rank for record in attempt.records}
    for place in attempt.plan.cluster.places():
        node = place.node
        if place.rank not in reported and node.node_rank in ended:
            log = attempt.layout.node_log(node.node_rank)
            yield Evidence(
                cause=Cause(
                    kind=FailureKind.NEVER_STARTED,
                    sentence="never reported that it started",
                    next_step="see the log of its agent",
                ),
                weight=Weight.CAUSE,
                at=0.0,
                rank=place.rank,
                node_rank=node.node_rank,
                node=node.name,
                text="no record",
                detail="\n".join(last_lines(log, LOG_LINES)),
            )


def _hangs(attempt: _Attempt) -> Sequence[Evidence]:
    hangs = [
        event
        for event in attempt.events
        if isinstance(event, events.HangSuspected) and event.stopping
    ]
    return [_of_hang(hangs[-1], attempt)] if hangs else []


def _of_hang(event: events.HangSuspected, attempt: _Attempt) -> Evidence:
    """Name the rank that does not wait for others, if the stacks show one."""
    stacks = {
        record.rank: last_stack(attempt.layout.rank_log(record.node_rank, record.rank))
        for record in attempt.records
    }
    busy = [rank for rank, stack in stacks.items() if stack and not waits_for_others(stack)]
    rank = busy[0] if busy and event.rank not in busy else event.rank
    record = next((each for each in attempt.records if each.rank == rank), None)
    waiting = " while the others wait for it" if rank in busy and len(busy) < len(stacks) else ""
    return Evidence(
        cause=Cause(
            kind=FailureKind.HANG,
            sentence=f"hangs{waiting}: no progress for {event.silent_s:.0f} s in phase "
            f"`{event.phase}` after step {event.step} (limit: {event.limit_s:.0f} s)",
            next_step="the stack shows where it is, innermost call first. If such a pause is "
            "normal there, raise supervise.hang_timeout_s=",
        ),
        weight=Weight.CAUSE,
        at=event.at - event.silent_s,
        rank=rank,
        node_rank=record.node_rank if record else 0,
        node=record.node if record else event.node,
        text=f"no progress for {event.silent_s:.0f} s",
        detail="\n".join(stacks.get(rank, []))
        or "it wrote no stack when asked for one: it hangs in the kernel, or is suspended",
    )
