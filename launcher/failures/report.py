"""The failure report: root cause, place and next step, on one screen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from launcher import units
from launcher.failures.causes import FailureKind, FirstFailure
from launcher.failures.root_cause import LostLauncher, first_failure, lost_launcher
from launcher.interrupts import START_AGAIN
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
_VERBS = {
    FailureKind.CHECKPOINT: ("checkpoints", "verify"),
    FailureKind.NO_CHECKPOINT: ("checkpoints", "verify"),
    FailureKind.CONNECTION: ("logs",),
}
"""The commands that the next steps of these kinds name."""


def why(layout: RunLayout, attempt: int = 0, *, commands: CommandLine = ANYWHERE) -> str:
    """Return the failure report of `attempt` (0: the newest) as plain text, at most 40 lines.

    If that attempt has not failed, the report is about the newest earlier one that has.

    Raises:
        UnknownNameError: the run does not exist.
    """
    status = read_status(layout)
    number = attempt or newest_attempt(layout)
    head = [_headline(layout, status, number)]
    failure = _failure_of(layout, number)
    if failure is not None:
        after = [*_no_restart(layout, number), *_resume(layout, status, commands, failure)]
        return _screen(layout, number, failure, head, after, commands)
    earlier = next(_earlier_failures(layout, number), None)
    if earlier is None and status.state is RunState.LOST:
        what = f"The launcher ({status.supervisor}) was killed before training started."
        return "\n".join([*head, "", what, *_wrap(START_AGAIN)])
    if earlier is None:
        return "\n".join([*head, "", "Nothing failed."])
    before, failure = earlier
    head += [f"attempt {number} has not failed"]
    head += [f"attempt {before} failed, {_what_followed(layout, before)}"]
    after = _resume(layout, status, commands)
    return _screen(layout, before, failure, head, after, commands)


def _failure_of(layout: RunLayout, number: int) -> FirstFailure | LostLauncher | None:
    if not number:
        return None
    failure, lost = first_failure(layout, number), lost_launcher(layout, number)
    if lost is not None and (failure is None or lost.explains(failure)):
        return lost
    return failure


def _earlier_failures(
    layout: RunLayout, number: int
) -> Iterator[tuple[int, FirstFailure | LostLauncher]]:
    """Yield the attempts before `number` that failed, newest first."""
    for each in reversed(attempts(layout)):
        failure = _failure_of(layout, each) if each < number else None
        if failure is not None:
            yield each, failure


def _what_followed(layout: RunLayout, number: int) -> str:
    """Return how the run continued after an attempt that failed."""
    for event in events.read(layout.attempt(number + 1).events):
        if isinstance(event, events.NodesChanged):
            return f"the run continued {event.change}"
    history = events.read(layout.attempt(number).events)
    if any(isinstance(event, events.AttemptEnded) and event.restarting for event in history):
        return "the run was restarted on the same nodes"
    return "the run was resumed"


def _screen(
    layout: RunLayout,
    number: int,
    failure: FirstFailure | LostLauncher,
    head: list[str],
    after: list[str],
    commands: CommandLine,
) -> str:
    if isinstance(failure, LostLauncher):
        body = [*head, "", *_lost_launcher(layout, number, failure)]
        return "\n".join([*body, *_earlier_attempts(layout, number), *after])
    before = [*head, "", f"FIRST FAILURE{_where(layout, failure)}", *_wrap(failure.sentence)]
    verb = _VERBS.get(failure.kind)
    after = [
        *_others(failure),
        "",
        "WHAT TO DO",
        *_wrap(failure.next_step),
        *([f"  run: {commands.of_run(layout, *verb)}"] if verb else []),
        f"  log: {_log(layout, failure)}",
        *_earlier_attempts(layout, number),
        *after,
    ]
    room = MOST_LINES - len(before) - len(after) - 1
    return "\n".join([*before, *_detail(failure, room), *after])


def _lost_launcher(layout: RunLayout, number: int, lost: LostLauncher) -> list[str]:
    """Return the lines about a lost launcher; failures of ranks are consequences."""
    name = f"the launcher ({lost.name})" if lost.name else "the launcher"
    failure = first_failure(layout, number)
    others = ["", "OTHERS", *_wrap(f"{failure.sentence} - a consequence")] if failure else []
    return [
        f"FIRST FAILURE  the launcher, last sign of life {units.time_of_day(lost.at)}",
        *_wrap(f"{name} is gone: it was killed, or its host went down"),
        *others,
        "",
        "WHAT TO DO",
        *_wrap(
            "find out what ended it: `kill -9`, the kernel because memory ran out "
            "(`dmesg | grep -i oom`), a closed session, or the host"
        ),
    ]


def _headline(layout: RunLayout, status: RunStatus, number: int) -> str:
    records = read_ranks(layout, number)
    step = min((record.step for record in records), default=0)
    total = max((record.total_steps for record in records), default=0)
    of = f" of {total}" if total else ""
    saved = (
        "no checkpoint"
        if status.committed_step is None
        else f"newest checkpoint at step {status.committed_step}"
    )
    return f"run {layout.run_id}, attempt {number}: {status.state}, step {step}{of}, {saved}"


def _where(layout: RunLayout, failure: FirstFailure) -> str:
    when = f", {units.time_of_day(failure.at)}" if failure.at else ""
    rank = "" if failure.rank is None else f"  rank {failure.rank}"
    records = read_ranks(layout, failure.attempt)
    record = next((record for record in records if record.rank == failure.rank), None)
    process = f", process {record.pid} on {record.host}" if record else ""
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
    return ["", "OTHERS", *shown, *([f"  and {more} more kinds of failures"] if more > 0 else [])]


def _log(layout: RunLayout, failure: FirstFailure) -> str:
    folder = layout.attempt(failure.attempt)
    if failure.rank is None:
        return str(folder.node_log(failure.node_rank))
    return str(folder.rank_log(failure.node_rank, failure.rank))


def _earlier_attempts(layout: RunLayout, number: int) -> list[str]:
    ended = [
        event
        for event in events.history(layout)
        if isinstance(event, events.AttemptEnded) and event.attempt < number
    ]
    if not ended:
        return []
    lines = [f"  attempt {each.attempt} at step {each.step}: {each.cause}" for each in ended]
    return ["", "EARLIER ATTEMPTS", *(line[:WIDTH] for line in lines[-_MOST_EARLIER:])]


def _no_restart(layout: RunLayout, number: int) -> list[str]:
    """Return what prevented a restart, if not the failure itself."""
    history = events.read(layout.attempt(number).events)
    reasons = [event.why for event in history if isinstance(event, events.RunEnded) and event.why]
    if not reasons:
        return []
    lines = [line for line in reasons[-1].splitlines() if line.strip()]
    return ["", "NOT RESTARTED", *(f"  {line}"[:WIDTH] for line in lines[:_MOST_REASONS])]


def _resume(
    layout: RunLayout,
    status: RunStatus,
    commands: CommandLine,
    failure: FirstFailure | LostLauncher | None = None,
) -> list[str]:
    if status.state in (RunState.RUNNING, RunState.STARTING, RunState.DONE):
        return []
    resume = commands.of_run(layout, "resume")
    if isinstance(failure, FirstFailure) and failure.kind is FailureKind.NO_CHECKPOINT:
        return [
            "",
            "Resume when the files are restored:",
            f"  {resume}",
            "Or start over at step 0:",
            f"  {resume} resume=never",
        ]
    step = status.committed_step
    start = "from the beginning" if step is None else f"from step {step}"
    lines = ["", f"Resume {start}:", f"  {resume}"]
    plan = read_plan(layout)
    if plan is not None and plan.code is not None:
        lines.append(f"  {resume} code=new   # uses your edited code, not the code snapshot")
    return lines


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")
