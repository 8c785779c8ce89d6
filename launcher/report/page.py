"""Prepares what the template shows, and renders it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from launcher import __version__, units
from launcher.report.charts import Chart, curve, time_bar
from launcher.report.gather import ReportData, gather
from launcher.runs import events
from launcher.runs.events import Event
from launcher.runs.files import replace
from launcher.specs import RunLayout

_MOST_EVENTS = 200
_SHOWN_ANYWAY = ("loss", "steps", "samples per s")


def write(layout: RunLayout) -> Path:
    """Write the run's `report.html`, replacing an older one, and return its path."""
    replace(layout.report, render(gather(layout)))
    return layout.report


def render(data: ReportData) -> str:
    """Return the page as text. It loads nothing from elsewhere."""
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
    return environment.get_template("page.html.j2").render(
        data=data,
        version=__version__,
        headline=" · ".join(word for word in _headline(data) if word),
        results=_results(data),
        median_rate=median(rates) if (rates := [y for _, y in data.rate.points]) else None,
        loss=curve(data.loss, "loss", data.restarts, axis="log", average=True),
        rate=curve(data.rate, "rate", data.restarts, axis="zero", average=True),
        small_charts=_small_charts(data),
        slices=time_bar(data.seconds),
        attempts=list(_attempts(data)),
        nodes=list(_nodes(data)),
        environment=list(_environment(data.environment)),
        config=[(name, value) for name, value in data.config if value not in ("", "{}", "[]")],
        timeline=list(_timeline(data)),
        git={"diff": "", "untracked": [], **(data.environment.get("git") or {})},
    )


def _headline(data: ReportData) -> Iterable[str]:
    yield data.status.recipe
    if data.plan is not None:
        cluster = data.plan.cluster
        yield units.count(len(cluster.nodes), "node")
        yield units.count(cluster.world_size, "rank")
        yield data.plan.backend
        yield data.plan.device
    if data.status.started_at:
        first = data.attempts[0][0].at if data.attempts else data.status.started_at
        yield f"started {units.moment(first)}"


def _results(data: ReportData) -> list[tuple[str, float]]:
    """Return the first numbers of the program's result; without any, of the last evaluation."""
    own = [
        (name.replace("_", " "), float(value))
        for name, value in data.result.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    last = [(series.name.replace("_", " "), series.points[-1][1]) for series in data.evals]
    return [(name, value) for name, value in (own or last) if name not in _SHOWN_ANYWAY][:3]


def _small_charts(data: ReportData) -> list[tuple[str, str, Chart | None]]:
    """Return title, note and chart of each evaluation, and of the learning rate if it changes."""
    charts: list[tuple[str, str, Chart | None]] = []
    for series in data.evals:
        if len(series.points) > 1:
            name = series.name.replace("_", " ")
            note = f"evaluation, last {units.number(series.points[-1][1])}"
            chart = curve(series, "metric", data.restarts, dots=True)
            charts.append((name[:1].upper() + name[1:], note, chart))
    if any(y != data.lr.points[0][1] for _, y in data.lr.points[1:]):
        charts.append(("Learning rate", "per step", curve(data.lr, "lr")))
    return charts


def _attempts(data: ReportData) -> Iterable[tuple[object, ...]]:
    for start, end in data.attempts:
        yield (
            start.attempt,
            units.moment(start.at),
            f"{start.nodes} / {start.world_size}",
            units.number(start.resumes_step or 0),
            units.number(end.step) if end else "",
            units.duration(end.seconds) if end else "",
            _ending(end),
        )


def _ending(end: events.AttemptEnded | None) -> str:
    if end is None:
        return "still running, or its supervisor was killed"
    return f"{end.cause}; restarted: {end.why}" if end.restarting else end.cause


def _nodes(data: ReportData) -> Iterable[tuple[object, ...]]:
    states = {node.node_rank: node.state for node in data.status.nodes}
    for node in data.plan.cluster.nodes if data.plan else ():
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


def _timeline(data: ReportData) -> Iterable[tuple[str, str, str]]:
    for event in data.events[-_MOST_EVENTS:]:
        after = units.duration(event.at - data.events[0].at)
        yield f"+{after}", units.moment(event.at), _sentence(event)


def _sentence(event: Event) -> str:  # noqa: C901, PLR0911 - one line per kind of event
    match event:
        case events.AttemptStarted():
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
        case events.AttemptEnded():
            return f"attempt {event.attempt} ended at step {event.step}: {event.cause}"
        case events.RunEnded():
            return f"run {event.state}, exit code {event.exit_code}"
    return type(event).__name__
