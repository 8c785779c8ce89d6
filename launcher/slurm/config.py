"""What `sbatch` is asked for: the keys `cluster.slurm.*`."""

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
    """Options of the batch job; what is empty is left to the cluster."""

    partition: str = ""
    """Partition, or several: `gpu,long`."""
    account: str = ""
    """Account that pays."""
    qos: str = ""
    """Quality of service."""
    time: str = ""
    """Time limit: `90` minutes, `12:00:00` or `2-00:00:00`. A run that needs longer is saved before
    the end and goes on in the same job, started again."""
    gres: str = ""
    """Devices on each node: `gpu:8`."""
    constraint: str = ""
    """Features that the nodes must have: `'a100&ib'`."""
    exclude: str = ""
    """Nodes that Slurm must not give: `node[01-03]`."""
    reservation: str = ""
    """Reservation to run in."""
    dependency: str = ""
    """Jobs to wait for: `afterany:123`."""
    array: str = ""
    """Tasks of an array, each a run of its own: `0-9`, `0-9%2`."""
    mem: str = ""
    """Memory on each node: `64G`; 0 takes all of it."""
    cpus_per_task: int = 0
    """CPU cores on each node; 0 leaves it to the cluster, which often gives one."""
    requeue: bool = True
    """Start the job again when it was preempted or its time is over."""
    extra: tuple[str, ...] = ()
    """Further options of sbatch, one each: `[--exclusive,--mail-type=END]`. They win."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, str) and not _VALUE.fullmatch(value):
                raise ConfigError(
                    f"`cluster.slurm.{each.name}={value}` is impossible: "
                    "sbatch takes no blanks, quotes or backslashes there",
                    hint=f"write it as `sbatch --{each.name.replace('_', '-')}=` wants it",
                )
        if self.cpus_per_task < 0:
            raise ConfigError(
                f"`cluster.slurm.cpus_per_task={self.cpus_per_task}` is impossible: "
                "it cannot be negative",
                hint="0 leaves it to the cluster",
            )
        limit_s(self.time)
        for line in self.extra:
            _check_line(line)


def _check_line(line: str) -> None:
    if not _LINE.fullmatch(line):
        raise ConfigError(
            f"`cluster.slurm.extra`: `{line}` is no option of sbatch",
            hint="each begins with a dash and stays on one line: "
            "'cluster.slurm.extra=[--exclusive,--mail-type=END]'",
        )
    for name in re.findall(r"(\w+)=", line.partition("--export")[2].lstrip("= ")):
        if names_a_secret(name):
            raise ConfigError(
                f"`cluster.slurm.extra`: {name} looks like a secret, and those never stand in a "
                "batch script",
                hint=f"export {name} in your shell: the job inherits it",
            )


# The batch script: options of Slurm and one command. Pure.
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
