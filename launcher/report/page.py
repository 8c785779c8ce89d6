"""Reads the run folder and lets the template write the page."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from launcher import __version__, units
from launcher.failures.root_cause import first_failure
from launcher.files import replace
from launcher.report import series
from launcher.report.charts import Chart, curve, time_bar
from launcher.report.series import Series
from launcher.runs import events, metrics
from launcher.runs.events import AttemptEnded, AttemptStarted, Event
from launcher.runs.records import newest_attempt, read_object, read_plan
from launcher.runs.status import RunState, RunStatus, read_status
from launcher.runs.time_accounting import seconds_by_phase
from launcher.specs import Plan, RunLayout

_MOST_EVENTS = 200
_SHOWN_ANYWAY = ("loss", "steps", "samples per s")


def write(layout: RunLayout) -> Path:
    """Write the run's `report.html`, replacing an older one, and return its path."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - slow to import

    environment = Environment(
        loader=PackageLoader("launcher.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for of_units in (units.number, units.count, units.duration, units.moment):
        environment.filters[of_units.__name__] = of_units
    page = environment.get_template("page.html.j2").render(_shown(layout))
    # Arguments and file names that are not UTF-8 contain lone surrogates.
    replace(layout.report, page.encode(errors="backslashreplace"))
    return layout.report


def _shown(layout: RunLayout) -> dict[str, Any]:
    """Return everything that the template needs. It loads nothing from elsewhere."""
    attempt, plan, status = newest_attempt(layout), read_plan(layout), read_status(layout)
    history, lines = events.history(layout), metrics.history(layout)
    started = [event for event in history if isinstance(event, AttemptStarted)]
    failed = status.state in (RunState.FAILED, RunState.LOST)
    environment = read_object(layout.environment)
    return {
        "version": __version__,
        "now": time.time(),
        "status": status,
        "headline": " · ".join(word for word in _headline(status, plan, started) if word),
        "seconds": (seconds := seconds_by_phase(layout)),
        "slices": time_bar(seconds),
        "failure": first_failure(layout, attempt) if failed else None,
        "attempts": [_attempt(event, history) for event in started],
        "nodes": list(_nodes(status, plan)),
        "environment": list(_environment(environment)),
        "git": {"diff": "", "untracked": [], **(environment.get("git") or {})},
        "config": [row for row in _config(layout) if row[1] not in ("", "{}", "[]")],
        "events": len(history),
        "timeline": list(_timeline(history)),
        **_measured(lines, read_object(layout.attempt(attempt).result) if attempt else {}),
    }


def _measured(lines: list[dict[str, Any]], result: Mapping[str, object]) -> dict[str, Any]:
    """Return the curves, and the numbers above them."""
    steps, evals = metrics.steps(lines), series.evaluations(metrics.evaluations(lines))
    loss, rate = series.values("loss", steps, "loss"), series.rates(steps)
    restarts = series.restarts(steps)
    return {
        "results": _results(result, evals),
        "last_loss": loss.points[-1][1] if loss.points else None,
        "median_rate": median(y for _, y in rate.points) if rate.points else None,
        "not_finite": sum(not series.is_finite(line.get("loss")) for line in steps),
        "loss": curve(loss, "loss", restarts, axis="log", average=True),
        "rate": curve(rate, "rate", restarts, axis="zero", average=True),
        "small_charts": list(
            _small_charts(evals, series.values("learning rate", steps, "lr"), restarts)
        ),
    }


def _headline(
    status: RunStatus, plan: Plan | None, started: Sequence[AttemptStarted]
) -> Iterable[str]:
    yield status.recipe
    if plan is not None:
        yield units.count(len(plan.cluster.nodes), "node")
        yield units.count(plan.cluster.world_size, "rank")
        yield plan.backend
        yield plan.device
    if status.started_at:
        yield f"started {units.moment(started[0].at if started else status.started_at)}"


def _results(result: Mapping[str, object], evals: Sequence[Series]) -> list[tuple[str, float]]:
    """Return the first numbers of the program's result; without any, of the last evaluation."""
    own = [
        (name.replace("_", " "), float(value))
        for name, value in result.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    last = [(each.name.replace("_", " "), each.points[-1][1]) for each in evals]
    return [(name, value) for name, value in (own or last) if name not in _SHOWN_ANYWAY][:3]


def _small_charts(
    evals: Sequence[Series], lr: Series, restarts: Sequence[tuple[int, int]]
) -> Iterable[tuple[str, str, Chart | None]]:
    """Yield title, note and chart of each evaluation, and of the learning rate if it changes."""
    for each in evals:
        if len(each.points) > 1:
            name = each.name.replace("_", " ")
            note = f"evaluation, last {units.number(each.points[-1][1])}"
            yield name[:1].upper() + name[1:], note, curve(each, "metric", restarts, dots=True)
    if any(y != lr.points[0][1] for _, y in lr.points[1:]):
        yield "Learning rate", "per step", curve(lr, "lr")


def _attempt(start: AttemptStarted, history: Sequence[Event]) -> tuple[object, ...]:
    ends = [event for event in history if isinstance(event, AttemptEnded)]
    end = next((event for event in reversed(ends) if event.attempt == start.attempt), None)
    ending = "still running, or its supervisor was killed"
    if end is not None:
        ending = f"{end.cause}; restarted: {end.why}" if end.restarting else end.cause
    return (
        start.attempt,
        units.moment(start.at),
        f"{start.nodes} / {start.world_size}",
        units.number(start.resumes_step or 0),
        units.number(end.step) if end else "",
        units.duration(end.seconds) if end else "",
        ending,
    )


def _nodes(status: RunStatus, plan: Plan | None) -> Iterable[tuple[object, ...]]:
    states = {node.node_rank: node.state for node in status.nodes}
    for node in plan.cluster.nodes if plan else ():
        gpus = ", ".join(node.gpus) or "none"
        state = states.get(node.node_rank, "")
        yield node.node_rank, node.name, node.role, node.address, node.slots, gpus, node.cpus, state


def _environment(found: dict[str, Any]) -> Iterable[tuple[str, object]]:
    if not found:
        return
    yield "host", f"{found.get('host', '')} ({found.get('cpus', '?')} cores)"
    yield "platform", found.get("platform", "")
    yield "python", found.get("python", "")
    yield from (found.get("packages") or {}).items()
    git = found.get("git") or {}
    if git:
        changed = ", with uncommitted changes" if git.get("dirty") else ""
        yield "git", f"{git.get('commit', '')[:12]} ({git.get('branch', '')}){changed}"
    yield from (found.get("variables") or {}).items()


def _config(layout: RunLayout) -> tuple[tuple[str, str], ...]:
    import yaml  # noqa: PLC0415 - only the report needs it

    try:
        value = yaml.safe_load(layout.config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ()
    return tuple(_flatten(value, ""))


def _flatten(value: object, name: str) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [
            row
            for key, item in value.items()
            for row in _flatten(item, f"{name}.{key}" if name else str(key))
        ]
    return [(name, "" if value is None else str(value))]


def _timeline(history: Sequence[Event]) -> Iterable[tuple[str, str, str]]:
    for event in history[-_MOST_EVENTS:]:
        after = units.duration(event.at - history[0].at)
        yield f"+{after}", units.moment(event.at), _sentence(event)


def _sentence(event: Event) -> str:  # noqa: C901, PLR0911 - one line per kind of event
    match event:
        case AttemptStarted():
            nodes, ranks = units.count(event.nodes, "node"), units.count(event.world_size, "rank")
            return f"attempt {event.attempt} started on {nodes}, {ranks}"
        case events.NodeStarted():
            return f"{event.node} started, PID {event.pid}"
        case events.NodeExited():
            return f"{event.node} exited with code {event.exit_code}"
        case events.RanksJoined():
            return f"all {units.count(event.ranks, 'rank')} reported"
        case events.RankFailed():
            return f"rank {event.rank} on {event.node} failed: {event.what}"
        case events.Committed():
            return f"checkpoint of step {event.step} committed"
        case events.HangSuspected():
            silent = units.duration(event.silent_s)
            return f"rank {event.rank} silent for {silent} in {event.phase}"
        case events.StopRequested():
            return f"{event.by} requested a stop: {event.reason}"
        case events.Killed():
            return f"the remaining processes were killed: {event.reason}"
        case AttemptEnded():
            return f"attempt {event.attempt} ended at step {event.step}: {event.cause}"
        case events.RunEnded():
            return f"run {event.state}, exit code {event.exit_code}"
    return type(event).__name__
