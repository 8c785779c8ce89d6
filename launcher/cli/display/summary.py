"""The end of a run on one screen: its result, its files, and the next commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher import units
from launcher.failures import FailureKind
from launcher.runs.command_line import CommandLine
from launcher.runs.records import read_object
from launcher.specs import RunLayout
from launcher.supervise import RunResult, Verdict

StyledLine = tuple[str, str]
"""Text and style."""


def summary(
    outcome: RunResult,
    layout: RunLayout,
    commands: CommandLine,
    *,
    again: str,
    report: str,
    cwd: Path,
) -> list[StyledLine]:
    """Return the lines at the end of a run.

    `again` is the command that does the same as a new run, empty after `resume`. `report` is the
    failure report.
    """
    lines: list[StyledLine] = [("", ""), _headline(outcome)]
    if report:
        lines += [("", ""), *((line, "") for line in report.splitlines()), ("", "")]
    lines += [(f"{name:<12}{text}", "") for name, text in _result(outcome.result)]
    lines += [(f"{name:<12}{text}", "dim") for name, text in _places(outcome, layout, cwd)]
    lines += [(f"{name:<12}{text}", "bold") for name, text in _next(outcome, layout, commands)]
    if outcome.state is Verdict.DONE and again:
        lines.append((f"{'repeat':<12}{again}", "bold"))
    return lines


def _headline(outcome: RunResult) -> StyledLine:
    took = units.duration(sum(outcome.seconds.values())) if outcome.seconds else ""
    steps = units.count(outcome.steps, "step") if outcome.steps else ""
    tries = f"{outcome.attempts} attempts" if outcome.attempts > 1 else ""
    details = ", ".join(part for part in (steps, took, tries) if part)
    state, style = {
        Verdict.DONE: ("done", "good"),
        Verdict.SAVED: ("preempted: checkpoint saved, requeue", "good"),
        Verdict.STOPPED: ("stopped", "note"),
        Verdict.FAILED: ("failed", "bad"),
    }[outcome.state]
    if outcome.state is Verdict.SAVED and outcome.committed_step is None:
        state = "preempted: no checkpoint saved, requeue"
    if outcome.state is not Verdict.DONE and _can_resume(outcome):
        details = f"{details}; saved at step {outcome.committed_step}".lstrip("; ")
    return (f"{state}: {details}" if details else state), style


def _can_resume(outcome: RunResult) -> bool:
    """Return whether there is a checkpoint that nothing reports as unreadable."""
    failure = outcome.first_failure
    lost = failure is not None and failure.kind is FailureKind.NO_CHECKPOINT
    return outcome.committed_step is not None and not lost


def _result(result: Mapping[str, object]) -> Sequence[tuple[str, str]]:
    numbers = ", ".join(
        f"{name} {units.value(each)}"
        for name, each in result.items()
        if isinstance(each, int | float)
    )
    texts = [(name, each) for name, each in result.items() if isinstance(each, str)]
    return [*([("result", numbers)] if numbers else []), *texts]


def _places(outcome: RunResult, layout: RunLayout, cwd: Path) -> list[tuple[str, str]]:
    logs = layout.attempt(outcome.attempts).logs
    places = [
        ("run folder", layout.path),
        ("report", layout.report),
        ("checkpoints", layout.checkpoints if outcome.committed_step is not None else None),
        ("logs", logs),
    ]
    return [
        (name, _short(path, cwd)) for name, path in places if path is not None and path.exists()
    ]


def _next(outcome: RunResult, layout: RunLayout, commands: CommandLine) -> list[tuple[str, str]]:
    if outcome.state is Verdict.DONE:
        export = commands.of_run(layout, "checkpoints", "export", options=["--to", "./model"])
        return [("export", export)] if _has_model(outcome, layout) else []
    if outcome.state is Verdict.FAILED:  # the failure report ends with what to do
        return []
    requeue = [("next", outcome.next_start)] if outcome.next_start else []
    if outcome.requeued:
        return requeue
    return [*requeue, ("resume", commands.of_run(layout, "resume"))]


def _has_model(outcome: RunResult, layout: RunLayout) -> bool:
    """Return whether `checkpoints export` writes a model that others can load."""
    return outcome.committed_step is not None and bool(read_object(layout.staged).get("model"))


def _short(path: Path, cwd: Path) -> str:
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
