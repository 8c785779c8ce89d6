"""The incident report: what broke first, where, and what to do, on one screen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from launcher import units
from launcher.failures.causes import FailureKind, FirstFailure
from launcher.failures.root_cause import Abandoned, abandoned, first_failure
from launcher.runs import events
from launcher.runs.command_line import ANYWHERE, CommandLine
from launcher.runs.records import attempts, newest_attempt, read_plan, read_ranks
from launcher.runs.status import RunState, RunStatus, read_status
from launcher.specs import RunLayout

__all__ = ["why"]

WIDTH = 100
MOST_LINES = 40
_MOST_OTHERS = 5
_MOST_EARLIER = 3
_MOST_REASONS = 8


def why(layout: RunLayout, attempt: int = 0, *, commands: CommandLine = ANYWHERE) -> str:
    """Return the incident report of `attempt` (0: the newest) as plain text, at most 40 lines.

    If that has not failed, it tells so, and then of the newest one before it that did.

    Raises:
        UnknownNameError: there is no such run.
    """
    status = read_status(layout)
    resume = commands.of_run(layout, "resume")
    number = attempt or newest_attempt(layout)
    head = [_headline(layout, status, number)]
    told = _failed(layout, number)
    if told is not None:
        after = [
            *_not_again(layout, number),
            *_going_on(layout, status, resume, told),
        ]
        return _screen(layout, number, told, head, after)
    earlier = next(_failed_before(layout, number), None)
    if earlier is None:
        return "\n".join([*head, "", "Nothing failed."])
    before, told = earlier
    head += [f"attempt {number} has not failed"]
    head += [f"attempt {before} failed, {_went_on(layout, before)}"]
    return _screen(layout, before, told, head, _going_on(layout, status, resume))


def _failed(layout: RunLayout, number: int) -> FirstFailure | Abandoned | None:
    if not number:
        return None
    failure, gone = first_failure(layout, number), abandoned(layout, number)
    if gone is not None and (failure is None or gone.explains(failure)):
        return gone
    return failure


def _failed_before(
    layout: RunLayout, number: int
) -> Iterator[tuple[int, FirstFailure | Abandoned]]:
    """Find the attempts before `number` that failed, newest first."""
    for each in reversed(attempts(layout)):
        told = _failed(layout, each) if each < number else None
        if told is not None:
            yield each, told


def _went_on(layout: RunLayout, number: int) -> str:
    """Tell what came after an attempt that failed and was not the last one."""
    for event in events.read(layout.attempt(number + 1).events):
        if isinstance(event, events.NodesChanged):
            return f"the run went on {event.change}"
    ended = events.read(layout.attempt(number).events)
    if any(isinstance(event, events.AttemptEnded) and event.restarting for event in ended):
        return "the run was restarted on the same nodes"
    return "the run was resumed"


def _screen(
    layout: RunLayout,
    number: int,
    told: FirstFailure | Abandoned,
    head: list[str],
    after: list[str],
) -> str:
    if isinstance(told, Abandoned):
        body = [*head, "", *_launcher_gone(layout, number, told)]
        return "\n".join([*body, *_earlier(layout, number), *after])
    before = [*head, "", f"FIRST FAILURE{_where(layout, told)}", *_wrap(told.sentence)]
    after = [
        *_others(told),
        "",
        "WHAT TO DO",
        *_wrap(told.next_step),
        *_places(layout, told),
        *_earlier(layout, number),
        *after,
    ]
    room = MOST_LINES - len(before) - len(after) - 1
    return "\n".join([*before, *_detail(told, room), *after])


def _launcher_gone(layout: RunLayout, number: int, gone: Abandoned) -> list[str]:
    """Tell of a launcher that died, and that what the ranks say came of it."""
    who = f"the launcher ({gone.name})" if gone.name else "the launcher"
    when = units.time_of_day(gone.at)
    failure = first_failure(layout, number)
    others = ["", "THE OTHERS", *_wrap(f"{failure.sentence} - a consequence")] if failure else []
    return [
        f"FIRST FAILURE  the launcher, last sign {when}",
        *_wrap(f"{who} died: the supervisor is gone, because it was killed or its host went down"),
        *others,
        "",
        "WHAT TO DO",
        *_wrap(
            "find out who ended it: `kill -9`, the kernel for lack of memory "
            "(`dmesg | grep -i oom`), a closed session, or the host"
        ),
    ]


def _headline(layout: RunLayout, status: RunStatus, number: int) -> str:
    records = read_ranks(layout, number)
    step = max((record.step for record in records), default=0)
    total = max((record.total_steps for record in records), default=0)
    of = f" of {total}" if total else ""
    saved = (
        "nothing committed"
        if status.committed_step is None
        else (f"last commit at step {status.committed_step}")
    )
    return f"run {layout.run_id}, attempt {number}: {status.state}, step {step}{of}, {saved}"


def _where(layout: RunLayout, failure: FirstFailure) -> str:
    when = f", {units.time_of_day(failure.at)}" if failure.at else ""
    rank = "" if failure.rank is None else f"  rank {failure.rank}"
    records = read_ranks(layout, failure.attempt)
    found = next((record for record in records if record.rank == failure.rank), None)
    process = f", process {found.pid} on {found.host}" if found else ""
    return f"{rank}  node {failure.node_rank} ({failure.node}){process}{when}"


def _detail(failure: FirstFailure, room: int) -> list[str]:
    lines = failure.detail.splitlines()
    if not lines or room < 4:
        return []
    if len(lines) > room - 1:
        lines = [*lines[:1], "  ...", *lines[-(room - 3) :]]
    return ["", *(f"    {line}"[:WIDTH] for line in lines)]


def _others(failure: FirstFailure) -> list[str]:
    if not failure.others:
        return []
    shown = [f"  {line}" for line in failure.others[:_MOST_OTHERS]]
    more = len(failure.others) - len(shown)
    return ["", "THE OTHERS", *shown, *([f"  and {more} kinds more"] if more > 0 else [])]


def _places(layout: RunLayout, failure: FirstFailure) -> list[str]:
    folder = layout.attempt(failure.attempt)
    if failure.rank is None:
        return [f"  log: {folder.node_log(failure.node_rank)}"]
    return [f"  log: {folder.rank_log(failure.node_rank, failure.rank)}"]


def _earlier(layout: RunLayout, number: int) -> list[str]:
    ended = [
        event
        for event in events.history(layout)
        if isinstance(event, events.AttemptEnded) and event.attempt < number
    ]
    lines = [f"  attempt {each.attempt} at step {each.step}: {each.cause}" for each in ended]
    return ["", "BEFORE THAT", *(line[:WIDTH] for line in lines[-_MOST_EARLIER:])] if lines else []


def _not_again(layout: RunLayout, number: int) -> list[str]:
    """What kept the run from starting again after that."""
    told = events.read(layout.attempt(number).events)
    reasons = [event.why for event in told if isinstance(event, events.RunEnded) and event.why]
    if not reasons:
        return []
    lines = [line for line in reasons[-1].splitlines() if line.strip()]
    return ["", "IT CANNOT GO ON", *(f"  {line}"[:WIDTH] for line in lines[:_MOST_REASONS])]


def _going_on(
    layout: RunLayout,
    status: RunStatus,
    again: str,
    told: FirstFailure | Abandoned | None = None,
) -> list[str]:
    if status.state in (RunState.RUNNING, RunState.STARTING, RunState.DONE):
        return []
    if isinstance(told, FirstFailure) and told.kind is FailureKind.NO_CHECKPOINT:
        return [
            "",
            "Go on when the files are back with:",
            f"  {again}",
            "Or start over at step 0 with:",
            f"  {again} resume=never",
        ]
    start = (
        "from the beginning"
        if status.committed_step is None
        else (f"from step {status.committed_step}")
    )
    lines = ["", f"Go on {start} with:", f"  {again}"]
    plan = read_plan(layout)
    if plan is not None and plan.code is not None:
        lines.append(
            f"  {again} code=new   # after mending the program, which the run has a copy of"
        )
    return lines


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")
