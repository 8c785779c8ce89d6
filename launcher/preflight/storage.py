"""Whether the storage root can be used."""

from __future__ import annotations

from pathlib import Path

from launcher.preflight.check import Subject, Trouble
from launcher.storage.disk import free_bytes, probe_writable


def writable(subject: Subject) -> Trouble | None:
    """Really write a file: permission bits alone do not tell (quotas, read-only mounts)."""
    problem = probe_writable(Path(subject.plan.storage_root))
    return Trouble(what=problem.message, hint=problem.hint) if problem else None


def free_space(subject: Subject) -> Trouble | None:
    """Ask the file system that the storage root is on, or will be on."""
    wanted = subject.config.min_free_gb
    folder = Path(subject.plan.storage_root)
    if not wanted:
        return None
    free = free_bytes(folder) / 1e9
    if free >= wanted:
        return None
    return Trouble(
        what=f"only {free:.1f} GB are free at `{folder}`, {wanted:g} GB are wanted",
        hint="free some, choose another storage.root=, or accept it with "
        f"preflight.min_free_gb={int(free * 10) / 10:g}",
    )
