"""What the user may set about the nodes: the keys `cluster.*` and `preflight.*`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from launcher.errors import require
from launcher.slurm.config import SlurmConfig


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Where the nodes come from."""

    name: str = "local"
    """Source of the node list."""
    port: int = 0
    """Port on the head where the ranks meet; 0 takes a free one."""
    python: str = ""
    """Interpreter on the nodes; empty means the one that runs the launcher."""
    hostfile: str = ""
    """With `cluster=hostfile`: file with one host a line, `gpu1 slots=8`."""
    hosts: tuple[str, ...] = ()
    """With `cluster=hostfile`: the hosts themselves, in place of a file."""
    include: tuple[str, ...] = ()
    """Use only these of the hosts; ranges like `gpu[1-4]` may be given."""
    exclude: tuple[str, ...] = ()
    """Use none of these hosts."""
    head: str = ""
    """Name of the node that is the head; empty takes the first."""
    spares: tuple[str, ...] = ()
    """Hosts that are used only when others do not answer or are lost."""
    min_nodes: int = 1
    """After nodes were lost the run goes on with no fewer than this; a first start needs all."""
    wait: bool = False
    """With `cluster=slurm`: follow the job until the run has ended, with its exit code."""
    slurm: SlurmConfig = field(default_factory=SlurmConfig)
    """With `cluster=slurm`: what sbatch is asked for."""
    probe: bool = True
    """Ask the nodes for their addresses before planning; false takes their names as addresses."""

    def __post_init__(self) -> None:
        ok = self.min_nodes >= 1
        require("cluster.min_nodes", self.min_nodes, ok=ok, reason="it must be at least 1")
        require("cluster.port", self.port, ok=0 <= self.port < 65536, reason="a port is 0 to 65535")

    @property
    def interpreter(self) -> str:
        """The Python that runs on the nodes."""
        return self.python or sys.executable


@dataclass(frozen=True, kw_only=True)
class PreflightConfig:
    """What must hold before anything is started."""

    min_free_gb: float = 2.0
    """Free space that `storage.root` must have, in GB."""

    def __post_init__(self) -> None:
        ok = self.min_free_gb >= 0
        require("preflight.min_free_gb", self.min_free_gb, ok=ok, reason="it cannot be negative")
