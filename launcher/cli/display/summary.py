"""The end of a run on one screen: result, where everything lies, what to type next. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher import units
from launcher.failures import FailureKind
from launcher.runs.command_line import CommandLine
from launcher.runs.records import read_object
from launcher.specs import RunLayout
from launcher.supervise import Outcome, OutcomeState

Line = tuple[str, str]
"""Text and style."""


def summary(
    outcome: Outcome,
    layout: RunLayout,
    commands: CommandLine,
    *,
    repeat: str,
    report: str,
    cwd: Path,
) -> list[Line]:
    """Return the lines that end a run.

    `repeat` is the command that does the same as a new run, empty after `resume`; `report` is the
    failure report.
    """
    lines: list[Line] = [("", ""), _headline(outcome)]
    if report:
        lines += [("", ""), *((line, "") for line in report.splitlines()), ("", "")]
    lines += [(f"{name:<12}{text}", "") for name, text in _result(outcome.result)]
    lines += [(f"{name:<12}{text}", "dim") for name, text in _places(outcome, layout, cwd)]
    lines += [(f"{name:<12}{text}", "bold") for name, text in _next(outcome, layout, commands)]
    if outcome.state is OutcomeState.DONE and repeat:
        lines.append((f"{'repeat':<12}{repeat}", "bold"))
    return lines


def _headline(outcome: Outcome) -> Line:
    took = units.duration(sum(outcome.seconds.values())) if outcome.seconds else ""
    steps = units.count(outcome.steps, "step") if outcome.steps else ""
    tries = f"{outcome.attempts} attempts" if outcome.attempts > 1 else ""
    details = ", ".join(part for part in (steps, took, tries) if part)
    words, style = {
        OutcomeState.DONE: ("done", "good"),
        OutcomeState.SAVED: ("saved, and wants to be started again", "good"),
        OutcomeState.STOPPED: ("stopped", "note"),
        OutcomeState.FAILED: ("failed", "bad"),
    }[outcome.state]
    if outcome.state is OutcomeState.SAVED and outcome.committed_step is None:
        words = "stopped with nothing saved, and wants to be started again"
    if outcome.state is not OutcomeState.DONE and _can_go_on(outcome):
        details = f"{details}; saved at step {outcome.committed_step}".lstrip("; ")
    return (f"{words}: {details}" if details else words), style


def _can_go_on(outcome: Outcome) -> bool:
    """Whether there is a checkpoint, and nobody found that it cannot be read."""
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


def _places(outcome: Outcome, layout: RunLayout, cwd: Path) -> list[tuple[str, str]]:
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


def _next(outcome: Outcome, layout: RunLayout, commands: CommandLine) -> list[tuple[str, str]]:
    if outcome.state is OutcomeState.DONE:
        export = commands.of_run(layout, "checkpoints", "export", options=["--to", "./model"])
        return [("export", export)] if _has_model(outcome, layout) else []
    if outcome.state is OutcomeState.FAILED:  # the failure report ends with what to do
        return []
    requeue = [("next", outcome.next_start)] if outcome.next_start else []
    return (
        requeue if outcome.requeued else [*requeue, ("resume", commands.of_run(layout, "resume"))]
    )


def _has_model(outcome: Outcome, layout: RunLayout) -> bool:
    """Return whether `checkpoints export` writes a model that others can load."""
    return outcome.committed_step is not None and bool(read_object(layout.staged).get("model"))


def _short(path: Path, cwd: Path) -> str:
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
