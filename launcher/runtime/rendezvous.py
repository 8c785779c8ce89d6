"""The rendezvous of the ranks of one attempt: a server in the agent of the first node with ranks.

That agent takes the port early, forks its ranks, starts the server, and keeps it until the agents
of all other nodes have signed off: it outlives every rank that may need it.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import logging
import os
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from launcher.errors import ConfigError, EngineMissingError, PreflightError
from launcher.runtime.environ import LaunchEnviron, RankEnviron, torchrun_variables
from launcher.specs import RunLayout

__all__ = ["ALL_SIGNED_OFF_S", "RENDEZVOUS", "Endpoint", "RendezvousServer"]

logger = logging.getLogger(__name__)

_BACKLOG = 4096
_CONNECT_S = 1.0
ALL_SIGNED_OFF_S = 300.0
"""How long to wait for the other agents once our own ranks are done; torchrun waits as long."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Address and port of the rendezvous, as every rank gets them."""

    address: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read `host:port` or `[v6 address]:port`."""
        address, _, port = text.rpartition(":")
        if not address or not port.isdigit():
            raise ConfigError(
                f"invalid endpoint: expected `host:port`, got `{text}`",
                hint="for example `10.0.0.1:29500`",
            )
        return cls(address=address.strip("[]"), port=int(port))


class RendezvousServer(ABC):
    """The rendezvous as the agents see it; `node` counts the nodes that have ranks.

    On the first node: `bind`, fork the ranks (`release` in each), `start`, `wait_for_agents`.
    On every other node: `sign_off`.
    """

    def __init__(self, endpoint: Endpoint, slots: Sequence[int], node: int, run_id: str) -> None:
        self._endpoint = endpoint
        self._slots = slots
        self._node = node
        self._run_id = run_id

    @abstractmethod
    def rank_variables(self, place: RankEnviron) -> dict[str, str]:
        """Return the variables that give a rank of this node its place and the rendezvous."""

    @abstractmethod
    def bind(self) -> None:
        """Take the port. Ranks of other nodes that are early can connect, and wait.

        Raises:
            PreflightError: the port is in use.
        """

    @abstractmethod
    def release(self) -> None:
        """Close the port in a forked rank, which would otherwise hold it after the agent died."""

    @abstractmethod
    def start(self) -> None:
        """Answer the ranks. This starts a thread, so no process may be forked after it."""

    @abstractmethod
    def sign_off(self) -> None:
        """Report that this node's ranks have ended; does nothing if the first agent is gone."""

    @abstractmethod
    def _signed_off(self) -> int:
        """Return how many agents have signed off."""

    def wait_for_agents(self, limit_s: float, give_up: Callable[[], bool]) -> None:
        """Wait until all other agents have signed off, `limit_s` is over or `give_up` is true."""
        deadline = time.monotonic() + limit_s
        while self._signed_off() < len(self._slots) - 1:
            if time.monotonic() > deadline or give_up():
                logger.info("exiting before all other agents did")
                return
            time.sleep(0.02)


class TorchRendezvous(RendezvousServer):
    """A TCPStore of torch."""

    _KEY = "launcher/agents_signed_off"

    def __init__(self, endpoint: Endpoint, slots: Sequence[int], node: int, run_id: str) -> None:
        super().__init__(endpoint, slots, node, run_id)
        self._socket: socket.socket | None = None
        self._store: Any = None

    def rank_variables(self, place: RankEnviron) -> dict[str, str]:
        defaults = {
            "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
            "OMP_NUM_THREADS": "1" if place.local_world_size > 1 else "",
        }
        # As with torchrun, what the user has set wins.
        chosen = {name: os.environ.get(name, default) for name, default in defaults.items()}
        launch = LaunchEnviron.from_environ(os.environ)
        if launch.run_dir:
            attempt = RunLayout(launch.run_dir).attempt(launch.attempt)
            chosen["TORCHELASTIC_ERROR_FILE"] = str(attempt.rank_error(place.rank))
        return {
            **torchrun_variables(place, group_rank=self._node, groups=len(self._slots)),
            "MASTER_ADDR": self._endpoint.address,
            "MASTER_PORT": str(self._endpoint.port),
            "TORCHELASTIC_RESTART_COUNT": "0",
            "TORCHELASTIC_MAX_RESTARTS": "0",
            "TORCHELASTIC_RUN_ID": self._run_id,
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            **{name: value for name, value in chosen.items() if value},
        }

    def bind(self) -> None:
        # On all addresses, as torch does: the one that others reach may not be one of this machine.
        v6 = socket.has_dualstack_ipv6()
        with _busy_port_explained(self._endpoint.port):
            self._socket = socket.create_server(
                ("", self._endpoint.port),
                family=socket.AF_INET6 if v6 else socket.AF_INET,
                dualstack_ipv6=v6,
                backlog=_BACKLOG,
            )

    def release(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def start(self) -> None:
        import torch.distributed as dist  # noqa: PLC0415 - agents import torch after `bind`

        assert self._socket is not None
        listener, self._socket = self._socket, None
        self._store = dist.TCPStore(  # type: ignore[attr-defined]
            self._endpoint.address,
            self._endpoint.port,
            is_master=True,
            wait_for_workers=False,
            multi_tenant=True,
            master_listen_fd=listener.detach(),
        )

    def sign_off(self) -> None:
        import torch.distributed as dist  # noqa: PLC0415

        address, port = self._endpoint.address, self._endpoint.port
        with contextlib.suppress(OSError, dist.DistError), _stderr_discarded():
            # Torch retries a refused connection for seconds, so try it here first.
            socket.create_connection((address, port), timeout=_CONNECT_S).close()
            timeout = timedelta(seconds=_CONNECT_S)
            store = dist.TCPStore(  # type: ignore[attr-defined]
                address, port, is_master=False, timeout=timeout
            )
            store.add(self._KEY, 1)

    def _signed_off(self) -> int:
        return int(self._store.add(self._KEY, 0))


class HorovodRendezvous(RendezvousServer):
    """Horovod's own rendezvous server, for its Gloo controller."""

    _SCOPE = "launcher"
    _TIMEOUT_S = 300
    """For ranks that import slowly: Horovod's 30 s are too short for four ranks on two cores."""

    def __init__(self, endpoint: Endpoint, slots: Sequence[int], node: int, run_id: str) -> None:
        super().__init__(endpoint, slots, node, run_id)
        self._server: Any = None

    def rank_variables(self, place: RankEnviron) -> dict[str, str]:
        cross_rank, cross_size = self._cross(self._node, place.local_rank)
        inherited = os.environ
        names = {
            "HOROVOD_RANK": place.rank,
            "HOROVOD_SIZE": place.world_size,
            "HOROVOD_LOCAL_RANK": place.local_rank,
            "HOROVOD_LOCAL_SIZE": place.local_world_size,
            "HOROVOD_CROSS_RANK": cross_rank,
            "HOROVOD_CROSS_SIZE": cross_size,
            "HOROVOD_HOSTNAME": f"node{self._node}",
            "HOROVOD_GLOO_RENDEZVOUS_ADDR": self._endpoint.address,
            "HOROVOD_GLOO_RENDEZVOUS_PORT": self._endpoint.port,
            # Set explicitly, because a Horovod built with MPI would use that.
            "HOROVOD_CONTROLLER": "gloo",
            "HOROVOD_CPU_OPERATIONS": "gloo",
            "HOROVOD_GLOO_IFACE": inherited.get("HOROVOD_GLOO_IFACE")
            or inherited.get("GLOO_SOCKET_IFNAME", ""),
            "HOROVOD_GLOO_TIMEOUT_SECONDS": inherited.get(
                "HOROVOD_GLOO_TIMEOUT_SECONDS", self._TIMEOUT_S
            ),
        }
        return {name: str(value) for name, value in names.items() if value != ""}

    def bind(self) -> None:
        try:
            from horovod.runner.common.util.hosts import SlotInfo  # noqa: PLC0415 - optional
            from horovod.runner.http.http_server import (  # noqa: PLC0415
                RendezvousHandler,
                RendezvousHTTPServer,
            )
        except ModuleNotFoundError as error:
            raise EngineMissingError(
                f"backend=horovod needs `{error.name}`, which is not installed",
                hint="python -m launcher.engines install horovod",
            ) from error
        address = (self._endpoint.address, self._endpoint.port)
        with _busy_port_explained(self._endpoint.port):
            self._server = RendezvousHTTPServer(address, RendezvousHandler, 0)
        self._server.daemon_threads = True
        self._server.init([SlotInfo(**values) for values in self._slot_values()])

    def release(self) -> None:
        self._server.server_close()

    def start(self) -> None:
        threading.Thread(
            target=self._server.serve_forever, name="horovod-rendezvous", daemon=True
        ).start()

    def sign_off(self) -> None:
        address, port = self._endpoint.address, self._endpoint.port
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(address, port, timeout=_CONNECT_S)
            connection.request("PUT", f"/{self._SCOPE}/{self._node}", body=b"done")
            connection.getresponse().read()
            connection.close()

    def _signed_off(self) -> int:
        return len(self._server.cache.get(self._SCOPE, {}))

    def _cross(self, node: int, local_rank: int) -> tuple[int, int]:
        """Return rank and size among the nodes that have such a local rank."""
        having = [count > local_rank for count in self._slots]
        return sum(having[:node]), sum(having)

    def _slot_values(self) -> Iterator[dict[str, Any]]:
        for node, count in enumerate(self._slots):
            for local_rank in range(count):
                cross_rank, cross_size = self._cross(node, local_rank)
                yield {
                    "hostname": f"node{node}",
                    "rank": sum(self._slots[:node]) + local_rank,
                    "size": sum(self._slots),
                    "local_rank": local_rank,
                    "local_size": count,
                    "cross_rank": cross_rank,
                    "cross_size": cross_size,
                }


RENDEZVOUS: Mapping[str, type[RendezvousServer]] = MappingProxyType(
    {"torchrun": TorchRendezvous, "horovod": HorovodRendezvous}
)
"""Value of the agent's flag `--engine` -> its rendezvous."""


@contextlib.contextmanager
def _busy_port_explained(port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise PreflightError(
            f"port {port} is in use on this node",
            hint=f"`ss -ltnp 'sport = :{port}'` shows the process that has it; use another port",
        ) from error


@contextlib.contextmanager
def _stderr_discarded() -> Iterator[None]:
    """Discard what C++ code prints, such as its stack when the first agent has just exited."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - only its descriptor matters
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
