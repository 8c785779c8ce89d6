"""``python -m launcher.runtime.agent``: the node's agent for torchrun, and for Horovod on Gloo.

Takes torchrun's flags and sets torchrun's variables, but imports torch once and forks the ranks
from that; `docs/adr/0006-agent-forks-ranks.md` says why. It restarts nothing: that is the
supervisor's.
"""

from __future__ import annotations

import argparse
import functools
import gc
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launcher.errors import ConfigError, LauncherError
from launcher.runtime import shim
from launcher.runtime.children import Child, fork_rank
from launcher.runtime.environ import LaunchEnviron, RankEnviron, slots_of, torchrun_variables
from launcher.runtime.exit_records import complete_record
from launcher.runtime.rendezvous import (
    ALL_LEFT_S,
    Endpoint,
    HorovodHost,
    Host,
    horovod_sign_off,
    horovod_variables,
    sign_off,
)
from launcher.runtime.wake import Wake
from launcher.runtime.watch import Patience, Watch

__all__ = ["AgentRequest", "main"]


@dataclass(frozen=True, kw_only=True)
class AgentRequest:
    """What one agent is asked to do."""

    engine: str
    """Whose variables the ranks get: `torchrun` or `horovod`."""
    nnodes: int
    node_rank: int
    """Counts the nodes that have ranks: what torchrun calls the group rank."""
    cluster_node_rank: int
    """Counts all nodes: what the run folder calls this node."""
    slots: tuple[int, ...]
    """Ranks of each of these nodes."""
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
                table=self.engine,
            )
            for local in range(count)
        )


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> AgentRequest:
    """Read the command line; nodes may take unequal numbers of ranks, told by LAUNCHER_SLOTS.

    Raises:
        ConfigError: the numbers contradict each other.
    """
    parser = argparse.ArgumentParser(prog="python -m launcher.runtime.agent")
    parser.add_argument("--engine", choices=("torchrun", "horovod"), default="torchrun")
    parser.add_argument("--nnodes", type=int, default=1)
    parser.add_argument("--node-rank", type=int, default=0)
    parser.add_argument("--nproc-per-node", type=int, default=1)
    parser.add_argument("--rdzv-endpoint", default="127.0.0.1:29500")
    parser.add_argument("--run-id", default="none")
    parser.add_argument("--peer-grace-s", type=float, default=5.0)
    parser.add_argument("program")
    parser.add_argument("args", nargs=argparse.REMAINDER)
    found = parser.parse_args(argv)
    told = tuple(count for count in slots_of(environ) if count)
    slots = told or (found.nproc_per_node,) * found.nnodes
    if len(slots) != found.nnodes or slots[found.node_rank] != found.nproc_per_node:
        raise ConfigError(
            f"node {found.node_rank} of {found.nnodes} takes {found.nproc_per_node} ranks,"
            f" but LAUNCHER_SLOTS tells {slots}",
            hint="start the agents with `python -m launcher`, which sets both",
        )
    return AgentRequest(
        engine=found.engine,
        nnodes=found.nnodes,
        node_rank=found.node_rank,
        cluster_node_rank=int(environ.get("LAUNCHER_NODE_RANK") or found.node_rank),
        slots=slots,
        endpoint=Endpoint.parse(found.rdzv_endpoint),
        run_id=found.run_id,
        peer_grace_s=found.peer_grace_s,
        program=found.program,
        args=tuple(found.args),
    )


def main(argv: Sequence[str]) -> int:
    """Run one node's ranks; return 0, or the exit code of the first one that failed.

    Returns more than once: in the agent, and in every rank it forked, so that each ends through
    the interpreter's own, complete, end.
    """
    handler = _log_to_stderr()
    wake = Wake()
    wake.install()
    try:
        request = parse(argv, os.environ)
        host = _host(request)
    except LauncherError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    _prepare_fork()
    children: list[Child] = []
    for place in request.places():
        child = fork_rank(place)
        if child is None:
            logging.getLogger("launcher").removeHandler(handler)
            return _be_rank(place, request, wake, host)
        children.append(child)
    return _be_agent(children, request, wake, host)


def _host(request: AgentRequest) -> Host | HorovodHost | None:
    if not request.is_head:
        return None
    if request.engine == "horovod":
        return HorovodHost(request.endpoint, request.slots)
    return Host(request.endpoint)


def _log_to_stderr() -> logging.Handler:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s agent: %(message)s"))
    room = logging.getLogger("launcher")
    room.addHandler(handler)
    room.setLevel(logging.INFO)
    return handler


def _prepare_fork() -> None:
    """Import once what every rank needs, without a thread and without touching a GPU."""
    # Nothing of what an import makes is garbage; looking for it costs a tenth of the import.
    gc.disable()
    import torch.distributed  # noqa: F401, PLC0415

    # A collection in a rank would write into every object's header and so copy all pages.
    gc.freeze()
    gc.enable()


def _be_rank(
    place: RankEnviron, request: AgentRequest, wake: Wake, host: Host | HorovodHost | None
) -> int:
    wake.uninstall()
    if host is not None:
        host.release()
    os.environ.update(_rank_variables(place, request))
    _renew_randomness()
    return shim.run(request.program, request.args)


def _rank_variables(place: RankEnviron, request: AgentRequest) -> dict[str, str]:
    if request.engine == "horovod":
        return horovod_variables(
            request.slots, request.node_rank, place.local_rank, request.endpoint
        )
    variables = {
        **torchrun_variables(place, group_rank=request.node_rank, groups=request.nnodes),
        "MASTER_ADDR": request.endpoint.address,
        "MASTER_PORT": str(request.endpoint.port),
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_MAX_RESTARTS": "0",
        "TORCHELASTIC_RUN_ID": request.run_id,
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    # A user's own choice wins, as it does in torchrun.
    variables.update(
        {
            name: os.environ.get(name, default)
            for name, default in {
                "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
                "OMP_NUM_THREADS": "1" if place.local_world_size > 1 else "",
            }.items()
            if os.environ.get(name, default)
        }
    )
    return variables


def _renew_randomness() -> None:
    """Undo what forked ranks would share: numpy's global state; `random` renews itself."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _be_agent(
    children: Sequence[Child], request: AgentRequest, wake: Wake, host: Host | HorovodHost | None
) -> int:
    launch = LaunchEnviron.from_environ(os.environ)
    if host is not None:
        host.start()
    parent_is_gone = functools.partial(_parent_is_gone, launch)
    watch = Watch(
        children,
        wake,
        Patience(grace_s=launch.grace_s, peers_s=request.peer_grace_s),
        on_end=lambda child: complete_record(child, launch),
        parent_is_gone=parent_is_gone,
    )
    watch.until_all_ended()
    failed = watch.first_failure
    if host is None:
        _sign_off(request)
    elif request.nnodes > 1:
        # The head goes last: its store, or Horovod's server, serves the ranks of all nodes.
        hurry = failed is not None or watch.stopping
        limit_s = request.peer_grace_s if hurry else ALL_LEFT_S
        host.wait_for_agents(
            request.nnodes - 1, limit_s, lambda: bool(wake.take_signals()) or parent_is_gone()
        )
    return failed.end.shell_code if failed and failed.end else 0


def _sign_off(request: AgentRequest) -> None:
    if request.engine == "horovod":
        horovod_sign_off(request.endpoint, request.node_rank)
    else:
        sign_off(request.endpoint)


def _parent_is_gone(launch: LaunchEnviron) -> bool:
    return launch.parent_pid not in (None, os.getppid())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
