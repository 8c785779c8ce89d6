"""The page: every section as a function of what was gathered."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from launcher.report.charts import Style, curve, time_bar
from launcher.report.gather import ReportData, gather, median_rate
from launcher.report.look import SCRIPT, STYLE
from launcher.report.scale import duration, number
from launcher.runs.events import (
    AttemptEnded,
    AttemptStarted,
    Committed,
    Event,
    HangSuspected,
    Killed,
    NodeExited,
    NodeStarted,
    RankFailed,
    RanksJoined,
    RunEnded,
    StopRequested,
)
from launcher.runs.files import replace
from launcher.specs import RunLayout

_MOST_EVENTS = 200
_SHOWN_ANYWAY = ("loss", "steps", "samples per s")


def write(layout: RunLayout) -> Path:
    """Write the run's `report.html` anew and return its path."""
    replace(layout.report, render(gather(layout)))
    return layout.report


def render(data: ReportData) -> str:
    """Return the page as text; it needs nothing but itself."""
    sections = [
        _failure(data),
        _curves(data),
        _small_charts_and_time(data),
        _attempts(data),
        _cluster(data),
        _environment(data),
        _config(data),
        _timeline(data),
        _sources(data),
    ]
    title = escape(data.status.run_id)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>{_head(data)}"
        f'{_facts(data)}<div class="grid">{"".join(sections)}</div>{_foot(data)}</main>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


# --- the top


def _head(data: ReportData) -> str:
    status = data.status
    words = [status.recipe]
    if data.plan is not None:
        cluster = data.plan.cluster
        words.append(_count(len(cluster.nodes), "node"))
        words.append(_count(cluster.world_size, "rank"))
        words += [data.plan.backend, data.plan.device]
    if status.started_at:
        first = data.attempts[0].started_at if data.attempts else status.started_at
        words.append(f"started {_moment(first)}")
    return (
        f'<header><h1>{escape(status.run_id)}</h1><span class="pill {status.state}">'
        f"{status.state}</span><p>{escape(' · '.join(word for word in words if word))}</p></header>"
    )


def _facts(data: ReportData) -> str:
    status = data.status
    total = f" <small>of {number(status.total_steps)}</small>" if status.total_steps else ""
    facts = [("steps", number(status.step) + total)]
    if data.loss.points:
        facts.append(("last loss", number(data.loss.points[-1][1])))
    facts += [(name, f"{number(value)}") for name, value in _results(data)]
    rate = median_rate(data)
    if rate:
        facts.append(("samples/s, median", number(rate)))
    if data.seconds:
        facts.append(("total time", duration(sum(data.seconds.values()))))
    if len(data.attempts) > 1:
        facts.append(("attempts", str(len(data.attempts))))
    if status.committed_step is not None:
        facts.append(("last checkpoint", f"<small>step</small> {number(status.committed_step)}"))
    cells = "".join(
        f"<div><span>{escape(name)}</span><b>{value}</b></div>" for name, value in facts
    )
    return f'<div class="facts">{cells}</div>'


def _results(data: ReportData) -> list[tuple[str, float]]:
    """The numbers that the program called its result; else the last evaluation."""
    own = [
        (name.replace("_", " "), float(value))
        for name, value in data.result.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    last = [(series.name.replace("_", " "), series.points[-1][1]) for series in data.evals]
    return [(name, value) for name, value in (own or last) if name not in _SHOWN_ANYWAY][:3]


# --- curves


def _curves(data: ReportData) -> str:
    note = f"<small>{data.not_finite} steps without a number</small>" if data.not_finite else ""
    loss = curve(data.loss, Style(colour="--c-loss", average=True, log=True), data.restarts)
    rate = curve(data.rate, Style(colour="--c-rate", average=True, zero=True), data.restarts)
    return _section(f"Loss{note}<small>per step</small>", loss, "half") + _section(
        "Throughput<small>samples per second, all ranks</small>", rate, "half"
    )


def _small_charts_and_time(data: ReportData) -> str:
    """Evaluations and the learning rate; a single one shares its row with the time."""
    charts = _small_charts(data)
    kind = {2: "half small", 4: "half small"}.get(len(charts), "third small")
    drawn = "".join(_section(title, chart, kind) for title, chart in charts)
    note = "<small>all attempts, by rank 0's account</small>"
    beside = "two-thirds" if len(charts) == 1 else ""
    return drawn + _section(f"Where the time went{note}", time_bar(data.seconds), beside)


def _small_charts(data: ReportData) -> list[tuple[str, str]]:
    drawn = []
    for series in data.evals:
        if len(series.points) > 1:
            last = f"<small>evaluation, last {number(series.points[-1][1])}</small>"
            chart = curve(series, Style(colour="--c-metric", dots=True), data.restarts)
            drawn.append((escape(_title(series.name)) + last, chart))
    if any(y != data.lr.points[0][1] for _, y in data.lr.points[1:]):
        chart = curve(data.lr, Style(colour="--c-lr"))
        drawn.append(("Learning rate<small>per step</small>", chart))
    return drawn


def _title(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


# --- what happened


def _failure(data: ReportData) -> str:
    failure = data.failure
    if failure is None:
        return ""
    parts = [f"<p><b>{escape(failure.sentence)}</b></p>"]
    if failure.detail:
        parts.append(f"<pre>{escape(failure.detail)}</pre>")
    parts += [f"<p>{escape(line)}</p>" for line in failure.others]
    parts.append(f"<p>What to do: {escape(failure.next_step)}.</p>")
    when = f"<small>attempt {failure.attempt}, {_moment(failure.at)}</small>" if failure.at else ""
    return _section(f"First failure{when}", "".join(parts), "failure")


def _attempts(data: ReportData) -> str:
    rows = [
        [
            str(row.number),
            _moment(row.started_at),
            f"{row.nodes} / {row.ranks}",
            "0" if row.resumes_step is None else number(row.resumes_step),
            "" if row.step is None else number(row.step),
            "" if row.seconds is None else duration(row.seconds),
            row.ending,
        ]
        for row in data.attempts
    ]
    names = ["#", "started", "nodes / ranks", "from step", "to step", "took", "how it ended"]
    return _section("Attempts", _table(names, rows, numeric=(3, 4, 5)))


def _cluster(data: ReportData) -> str:
    if data.plan is None:
        return ""
    states = {node.node_rank: node for node in data.status.nodes}
    rows = []
    for node in data.plan.cluster.nodes:
        now = states.get(node.node_rank)
        rows.append(
            [
                str(node.node_rank),
                node.name,
                node.role,
                node.address,
                str(node.slots),
                ", ".join(node.gpus) or "none",
                str(node.cpus),
                now.state if now else "",
            ]
        )
    names = ["node", "name", "role", "address", "ranks", "GPUs", "cores", "state"]
    return _section("Cluster", _table(names, rows, numeric=()), "half")


def _environment(data: ReportData) -> str:
    found = data.environment
    if not found:
        return ""
    git = found.get("git") or {}
    rows: list[tuple[str, Any]] = [
        ("host", f"{found.get('host', '')} ({found.get('cpus', '?')} cores)"),
        ("platform", found.get("platform", "")),
        ("python", found.get("python", "")),
        *(found.get("packages") or {}).items(),
    ]
    if git:
        changed = ", with uncommitted changes" if git.get("dirty") else ""
        rows.append(("git", f"{git.get('commit', '')[:12]} ({git.get('branch', '')}){changed}"))
    rows += (found.get("variables") or {}).items()
    return _section("Environment", _pairs(rows), "half")


def _config(data: ReportData) -> str:
    if not data.config:
        return ""
    shown = [(name, value) for name, value in data.config if value not in ("", "{}", "[]")]
    half = (len(shown) + 1) // 2
    body = f'<div class="columns">{_pairs(shown[:half])}{_pairs(shown[half:])}</div>'
    return _section("", f"<details open><summary>Configuration</summary>{body}</details>")


def _timeline(data: ReportData) -> str:
    told = data.events[-_MOST_EVENTS:]
    if not told:
        return ""
    start = data.events[0].at
    rows = [[f"+{duration(event.at - start)}", _moment(event.at), _say(event)] for event in told]
    table = _table(["after", "at", "what"], rows, numeric=(0,))
    count = f"<small>{_count(len(data.events), 'event')}</small>"
    return _section("", f"<details><summary>Timeline{count}</summary>{table}</details>")


def _sources(data: ReportData) -> str:
    git = data.environment.get("git") or {}
    diff, untracked = git.get("diff", ""), git.get("untracked", [])
    if not diff and not untracked:
        return ""
    names = f"<p>Untracked: {escape(', '.join(untracked))}</p>" if untracked else ""
    text = f"<pre>{escape(diff)}</pre>" if diff else ""
    summary = "<summary>Uncommitted changes<small>when the run was started</small></summary>"
    return _section("", f"<details>{summary}{names}{text}</details>")


def _say(event: Event) -> str:  # noqa: C901, PLR0911 - one line per kind of event
    match event:
        case AttemptStarted():
            return (
                f"attempt {event.attempt} started on {_count(event.nodes, 'node')}, "
                f"{_count(event.world_size, 'rank')}"
            )
        case NodeStarted():
            return f"{event.node} started, process {event.pid}"
        case NodeExited():
            return f"{event.node} ended with code {event.exit_code}"
        case RanksJoined():
            return f"all {_count(event.ranks, 'rank')} reported"
        case RankFailed():
            return f"rank {event.rank} on {event.node} failed: {event.what}"
        case Committed():
            return f"checkpoint of step {event.step} committed"
        case HangSuspected():
            return f"rank {event.rank} silent for {duration(event.silent_s)} in {event.phase}"
        case StopRequested():
            return f"asked to save and leave by {event.by}: {event.reason}"
        case Killed():
            return f"everything left was killed: {event.reason}"
        case AttemptEnded():
            return f"attempt {event.attempt} ended at step {event.step}: {event.cause}"
        case RunEnded():
            return f"run {event.state}, exit code {event.exit_code}"
    return type(event).__name__


# --- pieces


def _section(title: str, body: str, kind: str = "") -> str:
    head = f"<h2>{title}</h2>" if title else ""
    return f'<section class="{kind}">{head}{body}</section>'


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[int]) -> str:
    kinds = ["n" if column in numeric else "" for column in range(len(names))]
    head = "".join(
        f'<th class="{k}">{escape(name)}</th>' for k, name in zip(kinds, names, strict=True)
    )
    body = "".join(
        '<tr class="row">'
        + "".join(f'<td class="{k}">{escape(c)}</td>' for k, c in zip(kinds, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _pairs(rows: Iterable[tuple[str, Any]]) -> str:
    body = "".join(
        f'<tr><td class="k">{escape(str(name))}</td><td class="v">{escape(str(value))}</td></tr>'
        for name, value in rows
    )
    return f"<table>{body}</table>"


def _foot(data: ReportData) -> str:
    from launcher import __version__  # noqa: PLC0415 - the package imports us

    return f"<footer>Written {_moment(data.made_at)} by launcher {__version__}</footer>"


def _count(number_of: int, noun: str) -> str:
    return f"{number_of} {noun}" + ("" if number_of == 1 else "s")


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
