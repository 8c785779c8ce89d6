"""The end of a run on one screen: result, where everything lies, what to type next. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher import units
from launcher.failures import FailureKind
from launcher.specs import RunLayout
from launcher.supervise import Outcome, OutcomeState

Line = tuple[str, str]
"""Text and style."""


@dataclass(frozen=True, kw_only=True)
class NextCommands:
    """What can be typed next."""

    resume: str
    repeat: str
    """The same once more as a new run; empty for a run that was gone on with."""
    why: str


def summary(outcome: Outcome, layout: RunLayout, commands: NextCommands, cwd: Path) -> list[Line]:
    """Return the lines that end a run."""
    lines: list[Line] = [("", ""), _headline(outcome)]
    if outcome.state is OutcomeState.FAILED and outcome.why:
        lines += [("", ""), *((line, "") for line in outcome.why.splitlines()), ("", "")]
    lines += [(f"{name:<12}{text}", "") for name, text in _result(outcome.result)]
    lines += [(f"{name:<12}{text}", "dim") for name, text in _places(outcome, layout, cwd)]
    lines += [(f"{name:<12}{text}", "bold") for name, text in _next(outcome, commands)]
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


def _next(outcome: Outcome, commands: NextCommands) -> list[tuple[str, str]]:
    if outcome.state is OutcomeState.DONE:
        return [("repeat", commands.repeat)] if commands.repeat else []
    if outcome.state is OutcomeState.FAILED:  # the incident report ends with what to do
        return [] if outcome.why else [("why", commands.why)]
    if outcome.requeued:
        return [("next", outcome.next_start)]
    why_not = [("next", outcome.next_start)] if outcome.next_start else []
    return [*why_not, ("go on", commands.resume)]


def _short(path: Path, cwd: Path) -> str:
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
