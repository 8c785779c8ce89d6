"""What an agent writes about a rank that could not write it itself."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from pathlib import Path

from launcher.files import replace
from launcher.runtime.children import Child, End
from launcher.runtime.environ import LaunchEnviron, RankEnviron
from launcher.runtime.process import first_record
from launcher.specs import RankRecord, RankState, RunLayout, from_json, to_json

__all__ = ["bury_silent", "complete_record", "final", "read_record"]


def complete_record(child: Child, launch: LaunchEnviron) -> None:
    """Make the status file of an ended rank tell how its process ended."""
    if launch.run_dir is None or child.end is None:
        return
    path = _path_of(child.place.rank, launch.run_dir, launch.attempt)
    known = _read(path)
    if known is None or known.pid != child.pid:
        known = first_record(child.place, launch, child.pid)
    record = final(known, child.end)
    if record != known:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, to_json(record))


def bury_silent(places: Iterable[RankEnviron], launch: LaunchEnviron, *, exit_code: int) -> None:
    """Mark ranks as failed that told no end, once nothing can run any more.

    For ranks whose own agent died with them. A rank that never wrote a record stays unknown: it
    never started, and whoever was to start it has said why.
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
        replace(_path_of(place.rank, launch.run_dir, launch.attempt), to_json(record))


def read_record(rank: int, launch: LaunchEnviron) -> RankRecord | None:
    """Return what `rank` told last, if it told anything."""
    if launch.run_dir is None:
        return None
    return _read(_path_of(rank, launch.run_dir, launch.attempt))


def _path_of(rank: int, run_dir: Path, attempt: int) -> Path:
    return RunLayout(run_dir).attempt(attempt).rank_record(rank)


def final(record: RankRecord, end: End) -> RankRecord:
    """Return `record` as it must read after `end`; what the rank told itself is kept."""
    if record.state is RankState.SAVED:
        return record  # everything is durable: what happened while it left does not matter
    if end.ok:
        if record.state in (RankState.DONE, RankState.FAILED):
            return record
        return dataclasses.replace(record, state=RankState.DONE, exit_code=0, heartbeat_at=end.at)
    if record.state is RankState.FAILED and end.signal is None:
        return record
    return dataclasses.replace(
        record,
        state=RankState.FAILED,
        exit_code=end.exit_code,
        signal=end.signal if record.signal is None else record.signal,
        heartbeat_at=end.at,
    )


def _read(path: Path) -> RankRecord | None:
    try:
        return from_json(RankRecord, path.read_bytes())
    except (OSError, ValueError):
        return None  # it died before it wrote one
