"""The exit records that an agent writes for ranks that could not write their own."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from pathlib import Path

from launcher.files import replace
from launcher.runtime.children import Child
from launcher.runtime.environ import LaunchEnviron, RankEnviron
from launcher.runtime.process import first_record
from launcher.specs import RankRecord, RankState, RunLayout, from_json, to_json

__all__ = ["complete_record", "final", "mark_silent_ranks", "read_record"]


def complete_record(child: Child, launch: LaunchEnviron) -> None:
    """Add to the status file of an ended rank how its process ended."""
    if launch.run_dir is None or child.returncode is None:
        return
    path = _path(child.place.rank, launch.run_dir, launch.attempt)
    known = _read(path)
    if known is None or known.pid != child.pid:
        known = first_record(child.place, launch, child.pid)
    record = final(known, child.returncode, at=child.ended_at)
    if record != known:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, to_json(record))


def mark_silent_ranks(
    places: Iterable[RankEnviron], launch: LaunchEnviron, *, exit_code: int
) -> None:
    """Mark ranks as failed whose record has no end. Call it once none of them can run any more.

    Such ranks died together with their agent. A rank without any record never started: it is left
    alone, because the process that was to start it has reported why.
    """
    if launch.run_dir is None:
        return
    for place in places:
        known = read_record(place.rank, launch)
        if known is None or known.state not in (RankState.STARTING, RankState.RUNNING):
            continue
        record = dataclasses.replace(
            known, state=RankState.FAILED, exit_code=exit_code, heartbeat_at=time.time()
        )
        replace(_path(place.rank, launch.run_dir, launch.attempt), to_json(record))


def read_record(rank: int, launch: LaunchEnviron) -> RankRecord | None:
    """Return the status record of `rank`, if it has one."""
    if launch.run_dir is None:
        return None
    return _read(_path(rank, launch.run_dir, launch.attempt))


def final(record: RankRecord, returncode: int, *, at: float) -> RankRecord:
    """Return `record` with the end of its process added; what the rank itself wrote is kept."""
    if record.state is RankState.SAVED:
        return record  # everything is durable: how the process ended after it does not matter
    if returncode == 0:
        if record.state in (RankState.DONE, RankState.FAILED):
            return record
        return dataclasses.replace(record, state=RankState.DONE, exit_code=0, heartbeat_at=at)
    if record.state is RankState.FAILED and returncode > 0:
        return record
    return dataclasses.replace(
        record,
        state=RankState.FAILED,
        exit_code=returncode if returncode > 0 else None,
        signal=-returncode if returncode < 0 and record.signal is None else record.signal,
        heartbeat_at=at,
    )


def _path(rank: int, run_dir: Path, attempt: int) -> Path:
    return RunLayout(run_dir).attempt(attempt).rank_record(rank)


def _read(path: Path) -> RankRecord | None:
    try:
        return from_json(RankRecord, path.read_bytes())
    except (OSError, ValueError):
        return None  # the rank died before it wrote one
