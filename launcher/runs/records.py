"""Finding runs and attempts, and reading the JSON files in their folders.

A file that is missing, incomplete or written by another version is skipped, because its writer may
replace it at any moment.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from launcher.errors import ConfigError, UnknownNameError
from launcher.specs import Plan, RankRecord, RankState, RunLayout, from_json

PROGRAM = "program"
"""The phase of a running program that names no phases."""


def list_runs(root: Path) -> list[RunLayout]:
    """Return the runs in a storage root, oldest first by the last change of their folder."""
    folders = [path for path in (root / "runs").glob("*") if path.is_dir()]
    return [RunLayout(path) for path in sorted(folders, key=_last_change)]


def latest(root: Path) -> RunLayout:
    """Return the newest run.

    Raises:
        ConfigError: the root contains no run.
    """
    runs = list_runs(root)
    if not runs:
        raise ConfigError(
            "found no run",
            context=f"looked in {root / 'runs'}",
            hint="start one, or name the storage root of your runs: "
            "storage.root=/shared/me/outputs",
        )
    return runs[-1]


def find(root: Path, run_id: str) -> RunLayout:
    """Return the run with the name or the folder `run_id`; the newest for `latest` or an empty one.

    Raises:
        UnknownNameError: the run does not exist; suggests the nearest name.
        ConfigError: the newest run was requested, and the root contains none.
    """
    if not run_id or run_id == "latest":
        return latest(root)
    for folder in (root / "runs" / run_id, Path(run_id).absolute()):
        layout = RunLayout(folder)
        if any(path.exists() for path in (layout.config, layout.attempts, layout.supervisor)):
            return layout
    names = [layout.run_id for layout in list_runs(root)]
    raise UnknownNameError("run", run_id, names[-10:], context=f"looked in {root / 'runs'}")


def attempts(layout: RunLayout) -> tuple[int, ...]:
    """Return the numbers of all attempts that have a folder, oldest first."""
    folders = [path for path in layout.attempts.glob("[0-9]*") if path.is_dir()]
    return tuple(sorted(int(path.name) for path in folders if path.name.isdecimal()))


def newest_attempt(layout: RunLayout) -> int:
    """Return the number of the newest attempt, 0 before the first."""
    return max(attempts(layout), default=0)


def read_plan(layout: RunLayout, attempt: int = 0) -> Plan | None:
    """Return the plan of `attempt` (0: the newest one that was written), None if unreadable."""
    path = layout.attempt(attempt).plan if attempt else layout.plan
    try:
        return from_json(Plan, path.read_bytes())
    except (OSError, ValueError):
        return None


def read_ranks(layout: RunLayout, attempt: int) -> list[RankRecord]:
    """Return the readable records of the ranks of `attempt`, in rank order."""
    records = []
    for path in layout.attempt(attempt).ranks.glob("[0-9]*.json"):
        try:
            records.append(from_json(RankRecord, path.read_bytes()))
        except (OSError, ValueError):
            continue
    return sorted(records, key=lambda record: record.rank)


def phase_of(record: RankRecord, recipe: str) -> str:
    """Return the phase to show.

    A program that names no phases stays in `start`. It is known to run once it takes a step, and a
    user's script from its first line, because it may never report a step.
    """
    if record.phase != "start":  # programs never return to it
        return record.phase
    runs = record.step > 0 or (recipe == "script" and record.state is not RankState.STARTING)
    return PROGRAM if runs else record.phase


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`, an empty one if it is unreadable."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON objects in a file that has one per line, without unreadable lines."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    objects = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            objects.append(value)
    return objects


def _last_change(path: Path) -> tuple[float, str]:
    marks = [path / "attempts", path / "config.yaml", path]
    times = [mark.stat().st_mtime for mark in marks if mark.exists()]
    return max(times, default=0.0), path.name
