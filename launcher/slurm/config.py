"""The options of a batch job, `cluster.slurm.*`, and the script that contains them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, fields

from launcher.errors import ConfigError
from launcher.slurm.time_limit import limit_s
from launcher.specs.secrets import names_a_secret

_VALUE = re.compile(r"[^\s\"'\\`]*")
_LINE = re.compile(r"--?[A-Za-z][^\r\n\0]*")


@dataclass(frozen=True, kw_only=True)
class SlurmConfig:
    """Options of the batch job; empty ones use the default of the cluster."""

    partition: str = ""
    """Partition, or several: `gpu,long`."""
    account: str = ""
    """Account to charge."""
    qos: str = ""
    """Quality of service."""
    time: str = ""
    """Time limit: `90` minutes, `12:00:00` or `2-00:00:00`. A run that needs longer saves a
    checkpoint before the limit, and resumes when the job is requeued."""
    gres: str = ""
    """Devices on each node: `gpu:8`."""
    constraint: str = ""
    """Required features of the nodes: `'a100&ib'`."""
    exclude: str = ""
    """Nodes to avoid: `node[01-03]`."""
    reservation: str = ""
    """Reservation to use."""
    dependency: str = ""
    """Jobs to wait for: `afterany:123`."""
    array: str = ""
    """Array tasks, each its own run: `0-9`, `0-9%2`."""
    mem: str = ""
    """Memory on each node: `64G`; 0 takes all of it."""
    cpus_per_task: int = 0
    """CPU cores on each node; 0 uses the default of the cluster, which is often 1."""
    requeue: bool = True
    """Requeue the job after a preemption or at its time limit."""
    extra: tuple[str, ...] = ()
    """More options of sbatch: `[--exclusive,--mail-type=END]`. They override the other keys."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, str) and not _VALUE.fullmatch(value):
                raise ConfigError(
                    f"`cluster.slurm.{each.name}={value}` is impossible: "
                    "it must not contain spaces, quotes or backslashes",
                    hint=f"use the syntax of `sbatch --{each.name.replace('_', '-')}=`",
                )
        if self.cpus_per_task < 0:
            raise ConfigError(
                f"`cluster.slurm.cpus_per_task={self.cpus_per_task}` is impossible: "
                "it cannot be negative",
                hint="0 uses the default of the cluster",
            )
        limit_s(self.time)
        for line in self.extra:
            _check_line(line)


def _check_line(line: str) -> None:
    if not _LINE.fullmatch(line):
        raise ConfigError(
            f"`cluster.slurm.extra`: expected an option of sbatch, got `{line}`",
            hint="start each with a dash, on one line: "
            "'cluster.slurm.extra=[--exclusive,--mail-type=END]'",
        )
    for name in re.findall(r"(\w+)=", line.partition("--export")[2].lstrip("= ")):
        if names_a_secret(name):
            raise ConfigError(
                f"`cluster.slurm.extra`: {name} looks like a secret, which must not be in a batch "
                "script",
                hint=f"export {name} in your shell; the job inherits it",
            )


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """Everything that a batch script depends on."""

    name: str
    """Name of the job: the run id."""
    nodes: int
    options: SlurmConfig
    signal_s: int
    """Seconds before the time limit at which Slurm signals the launcher."""
    command: tuple[str, ...]
    """Runs on the first node of the job."""


def render(request: BatchRequest) -> str:
    """Return the text of the script.

    `exec` replaces the batch shell by the launcher, so that the launcher receives the signal of
    `--signal=B:`. The job inherits the environment, including secrets.
    """
    lines = [
        "#!/bin/bash",
        "# Generated. All settings are in the config file named below.",
        *(f"#SBATCH {option}" for option in options_of(request)),
        "",
        f"exec {shlex.join(request.command)}",
    ]
    return "\n".join(lines) + "\n"


def options_of(request: BatchRequest) -> Iterator[str]:
    """Yield the options of the job in the syntax of sbatch."""
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
