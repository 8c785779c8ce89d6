"""``python -m launcher.runtime.agent``: the agent of a node, for torchrun and for Horovod on Gloo.

It takes torchrun's flags and sets torchrun's variables, but imports torch once and forks the ranks
from that process; `docs/adr/0006-agent-forks-ranks.md` says why. It never restarts a rank: the
supervisor does.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launcher.errors import ConfigError, LauncherError
from launcher.runtime import shim
from launcher.runtime.children import Child, fork_rank
from launcher.runtime.environ import LaunchEnviron, RankEnviron, slots_of
from launcher.runtime.exit_records import complete_record
from launcher.runtime.monitor import AgentSignals, RankMonitor, Timeouts, log_to_stderr
from launcher.runtime.rendezvous import ALL_SIGNED_OFF_S, RENDEZVOUS, Endpoint, RendezvousServer

__all__ = ["AgentRequest", "main"]

logger = logging.getLogger("launcher.runtime.agent")


@dataclass(frozen=True, kw_only=True)
class AgentRequest:
    """The command line of an agent."""

    engine: str
    """Whose rendezvous and variables the ranks get: `torchrun` or `horovod`."""
    node_rank: int
    """Among the nodes that have ranks: what torchrun calls the group rank."""
    cluster_node_rank: int
    """Among all nodes: what the run folder calls this node."""
    slots: tuple[int, ...]
    """Number of ranks of each node that has any."""
    endpoint: Endpoint
    run_id: str
    peer_grace_s: float
    program: str
    args: tuple[str, ...]

    @property
    def is_head(self) -> bool:
        return self.node_rank == 0

    def places(self) -> tuple[RankEnviron, ...]:
        """Return the places of this node's ranks."""
        first = sum(self.slots[: self.node_rank])
        count = self.slots[self.node_rank]
        return tuple(
            RankEnviron(
                rank=first + local,
                world_size=sum(self.slots),
                local_rank=local,
                local_world_size=count,
                node_rank=self.cluster_node_rank,
                set_by=self.engine,
            )
            for local in range(count)
        )


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> AgentRequest:
    """Read the command line; LAUNCHER_SLOTS gives unequal numbers of ranks per node.

    Raises:
        ConfigError: the numbers contradict each other.
    """
    parser = argparse.ArgumentParser(prog="python -m launcher.runtime.agent")
    parser.add_argument("--engine", choices=tuple(RENDEZVOUS), default="torchrun")
    parser.add_argument("--nnodes", type=int, default=1)
    parser.add_argument("--node-rank", type=int, default=0)
    parser.add_argument("--nproc-per-node", type=int, default=1)
    parser.add_argument("--rdzv-endpoint", default="127.0.0.1:29500")
    parser.add_argument("--run-id", default="none")
    parser.add_argument("--peer-grace-s", type=float, default=5.0)
    parser.add_argument("program")
    parser.add_argument("args", nargs=argparse.REMAINDER)
    parsed = parser.parse_args(argv)
    listed = tuple(count for count in slots_of(environ) if count)
    slots = listed or (parsed.nproc_per_node,) * parsed.nnodes
    if len(slots) != parsed.nnodes or slots[parsed.node_rank] != parsed.nproc_per_node:
        raise ConfigError(
            f"the flags say {parsed.nproc_per_node} ranks on node {parsed.node_rank} of "
            f"{parsed.nnodes}, but LAUNCHER_SLOTS says {slots}",
            hint="start the agents with `python -m launcher`, which sets both",
        )
    return AgentRequest(
        engine=parsed.engine,
        node_rank=parsed.node_rank,
        cluster_node_rank=int(environ.get("LAUNCHER_NODE_RANK") or parsed.node_rank),
        slots=slots,
        endpoint=Endpoint.parse(parsed.rdzv_endpoint),
        run_id=parsed.run_id,
        peer_grace_s=parsed.peer_grace_s,
        program=parsed.program,
        args=tuple(parsed.args),
    )


def main(argv: Sequence[str]) -> int:
    """Run one node's ranks; return 0, or the exit code of the first one that failed.

    Returns in the agent and also in every rank that it forked: each ends as an interpreter does.
    """
    handler = log_to_stderr()
    signals = AgentSignals()
    signals.install()
    try:
        request = parse(argv, os.environ)
        rendezvous = RENDEZVOUS[request.engine](
            request.endpoint, request.slots, request.node_rank, request.run_id
        )
        if request.is_head:
            rendezvous.bind()  # before torch is imported: a port in use is reported early
    except LauncherError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    _prepare_fork()
    children: list[Child] = []
    for place in request.places():
        child = fork_rank(place)
        if child is None:
            logging.getLogger("launcher").removeHandler(handler)
            signals.uninstall()
            return _be_rank(place, request, rendezvous)
        children.append(child)
    return _be_agent(children, request, signals, rendezvous)


def _prepare_fork() -> None:
    """Import what every rank needs, without starting a thread and without touching a GPU."""
    # An import creates no garbage, and looking for it takes a tenth of the import's time.
    gc.disable()
    import torch.distributed  # noqa: F401, PLC0415

    # A collection in a rank would write to the header of every object and so copy all pages.
    gc.freeze()
    gc.enable()


def _be_rank(place: RankEnviron, request: AgentRequest, rendezvous: RendezvousServer) -> int:
    if request.is_head:
        rendezvous.release()
    os.environ.update(rendezvous.rank_variables(place))
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()  # else all ranks draw the same numbers; `random` reseeds by itself
    return shim.run(request.program, request.args)


def _be_agent(
    children: Sequence[Child],
    request: AgentRequest,
    signals: AgentSignals,
    rendezvous: RendezvousServer,
) -> int:
    launch = LaunchEnviron.from_environ(os.environ)
    if request.is_head:
        rendezvous.start()
    monitor = RankMonitor(
        children,
        signals,
        Timeouts(grace_s=launch.grace_s, peers_s=request.peer_grace_s),
        on_end=lambda child: complete_record(child, launch),
        parent_is_gone=launch.parent_is_gone,
    )
    monitor.wait()
    failed = monitor.first_failure
    if request.is_head:
        # The ranks of the other nodes need the rendezvous until they have ended.
        hurry = failed is not None or monitor.stopping
        rendezvous.wait_for_agents(
            request.peer_grace_s if hurry else ALL_SIGNED_OFF_S,
            lambda: bool(signals.take()) or launch.parent_is_gone(),
        )
    else:
        rendezvous.sign_off()
    return failed.shell_code if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))  # `sys.exit` may be one of the program
