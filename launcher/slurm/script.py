"""The batch script: options of Slurm and one command. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from launcher.slurm.config import SlurmConfig


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """All that a batch script depends on."""

    name: str
    """Of the job: the run's."""
    nodes: int
    options: SlurmConfig
    signal_s: int
    """Seconds before the end of its time at which the launcher is told."""
    command: tuple[str, ...]
    """What the job runs on its first node."""


def render(request: BatchRequest) -> str:
    """Return the text of the script.

    `exec` puts the launcher in the place of the batch shell: `--signal=B:` reaches it, and nothing
    stands between it and Slurm. The environment, and so every secret, is inherited.
    """
    lines = [
        "#!/bin/bash",
        "# Written by the launcher. All that decides stands in the configuration that it names.",
        *(f"#SBATCH {option}" for option in options_of(request)),
        "",
        f"exec {shlex.join(request.command)}",
    ]
    return "\n".join(lines) + "\n"


def options_of(request: BatchRequest) -> Iterator[str]:
    """Return the options of the job as sbatch takes them."""
    yield f"--job-name={request.name}"
    yield f"--nodes={request.nodes}"
    yield "--ntasks-per-node=1"  # one task starts all ranks of its node
    yield f"--signal=B:USR1@{request.signal_s}"
    yield "--requeue" if request.options.requeue else "--no-requeue"
    yield "--open-mode=append"
    for name in _GIVEN:
        value = getattr(request.options, name)
        if value:
            yield f"--{name.replace('_', '-')}={value}"
    yield from request.options.extra


_GIVEN = (
    "partition",
    "account",
    "qos",
    "time",
    "gres",
    "constraint",
    "exclude",
    "reservation",
    "dependency",
    "array",
    "mem",
    "cpus_per_task",
)
