"""Which runs there are."""

from __future__ import annotations

from pathlib import Path

from launcher.errors import ConfigError, UnknownNameError
from launcher.specs import RunLayout


def list_runs(root: Path) -> list[RunLayout]:
    """Return the runs under a storage root, oldest first by when their folder last changed."""
    folders = [path for path in (root / "runs").glob("*") if path.is_dir()]
    return [RunLayout(path) for path in sorted(folders, key=_age_key)]


def latest(root: Path) -> RunLayout:
    """Return the newest run.

    Raises:
        ConfigError: there is none.
    """
    found = list_runs(root)
    if not found:
        raise ConfigError(
            "there is no run yet",
            context=f"looked in {root / 'runs'}",
            hint="start one, or say where the runs are: storage.root=/shared/me/outputs",
        )
    return found[-1]


def find(root: Path, run_id: str) -> RunLayout:
    """Return the run called `run_id`, or a path to its folder.

    Raises:
        UnknownNameError: there is no such run; offers the nearest one.
        ConfigError: the newest is asked for, and there is none at all.
    """
    if not run_id or run_id == "latest":
        return latest(root)
    for folder in (root / "runs" / run_id, Path(run_id).absolute()):
        if (folder / "config.yaml").exists() or (folder / "attempts").is_dir():
            return RunLayout(folder)
    names = [layout.run_id for layout in list_runs(root)]
    raise UnknownNameError("run", run_id, names[-10:], context=f"looked in {root / 'runs'}")


def _age_key(path: Path) -> tuple[float, str]:
    marks = [path / "attempts", path / "config.yaml", path]
    times = [mark.stat().st_mtime for mark in marks if mark.exists()]
    return max(times, default=0.0), path.name
