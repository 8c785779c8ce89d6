"""The rendezvous of the ranks of one attempt: a server in the agent of the first node with ranks.

That agent takes the port early, forks its ranks, starts the server, and keeps it until the agents
of all other nodes have signed off: it outlives every rank that may need it.
"""

from __future__ import annotations

import contextlib
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

from launcher.errors import ConfigError, EngineMissingError, TrainingError
from launcher.runtime.environ import LaunchEnviron, RankEnviron, torchrun_variables
from launcher.runtime.listen import listen
from launcher.runtime.run_secret import RunSecret
from launcher.specs import RunLayout

__all__ = ["ALL_SIGNED_OFF_S", "RENDEZVOUS", "Endpoint", "RendezvousServer"]

logger = logging.getLogger(__name__)

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

    _family: int = socket.AF_UNSPEC
    """That the clients of the server can use."""

    def __init__(self, endpoint: Endpoint, slots: Sequence[int], node: int, run_id: str) -> None:
        self._endpoint = endpoint
        self._slots = slots
        self._node = node
        self._run_id = run_id
        self._secret = RunSecret.from_environ(os.environ)
        self._socket: socket.socket | None = None

    @abstractmethod
    def rank_variables(self, place: RankEnviron) -> dict[str, str]:
        """Return the variables that give a rank of this node its place and the rendezvous."""

    def bind(self) -> None:
        """Take the port. Ranks of other nodes that are early can connect, and wait.

        Raises:
            PreflightError: the port is in use.
            EngineMissingError: the library of the server is not installed.
        """
        endpoint, several = self._endpoint, len(self._slots) > 1
        self._socket = listen(
            endpoint.address, endpoint.port, several_nodes=several, family=self._family
        )

    def release(self) -> None:
        """Close the port in a forked rank, which would otherwise hold it after the agent died."""
        if self._socket is not None:
            self._socket.close()

    @abstractmethod
    def start(self) -> None:
        """Answer the ranks. This starts a thread, so no process may be forked after it."""

    @abstractmethod
    def sign_off(self) -> None:
        """Report that this node's ranks have ended; does nothing if the first agent is gone."""

    @abstractmethod
    def _has_signed_off(self, node: int) -> bool:
        """Return whether the agent of `node` has signed off."""

    def wait_for_agents(self, limit_s: float, give_up: Callable[[], bool]) -> None:
        """Wait until all other agents have signed off, `limit_s` is over or `give_up` is true."""
        deadline = time.monotonic() + limit_s
        for node in range(1, len(self._slots)):
            while not self._has_signed_off(node):
                if time.monotonic() > deadline or give_up():
                    logger.info("exiting before all other agents did")
                    return
                time.sleep(0.02)


class TorchRendezvous(RendezvousServer):
    """A TCPStore of torch."""

    _store: Any = None

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

    def start(self) -> None:
        import torch.distributed as dist  # noqa: PLC0415 - agents import torch after `bind`

        from launcher.runtime.signed_store import SignedStore  # noqa: PLC0415

        assert self._socket is not None
        listener, self._socket = self._socket, None
        store = dist.TCPStore(  # type: ignore[attr-defined]
            self._endpoint.address,
            self._endpoint.port,
            is_master=True,
            wait_for_workers=False,
            multi_tenant=True,
            master_listen_fd=listener.detach(),
        )
        self._store = SignedStore(store, self._secret)

    def sign_off(self) -> None:
        import torch.distributed as dist  # noqa: PLC0415

        from launcher.runtime.signed_store import SignedStore  # noqa: PLC0415

        address, port = self._endpoint.address, self._endpoint.port
        with contextlib.suppress(OSError, dist.DistError), _stderr_discarded():
            # Torch retries a refused connection for seconds, so try it here first.
            socket.create_connection((address, port), timeout=_CONNECT_S).close()
            timeout = timedelta(seconds=_CONNECT_S)
            store = dist.TCPStore(  # type: ignore[attr-defined]
                address, port, is_master=False, timeout=timeout
            )
            SignedStore(store, self._secret).set(_signed_off(self._node), b"")

    def _has_signed_off(self, node: int) -> bool:
        key = _signed_off(node)
        if not self._store.check([key]):
            return False
        try:
            self._store.get(key)
        except TrainingError as error:  # the agent itself may still write it
            logger.warning("%s", error)
            self._store.delete_key(key)
            return False
        return True


class HorovodRendezvous(RendezvousServer):
    """Horovod's own rendezvous server, for its Gloo controller."""

    _SCOPE = "launcher"
    _family = socket.AF_INET
    _TIMEOUT_S = 300
    """For ranks that import slowly: Horovod's 30 s are too short for four ranks on two cores."""

    def __init__(self, endpoint: Endpoint, slots: Sequence[int], node: int, run_id: str) -> None:
        super().__init__(endpoint, slots, node, run_id)
        self._server: Any = None

    def rank_variables(self, place: RankEnviron) -> dict[str, str]:
        cross_rank, cross_size = self._cross(self._node, place.local_rank)
        inherited = os.environ
        address, port = self._endpoint.address, self._endpoint.port
        names = {
            "HOROVOD_RANK": place.rank,
            "HOROVOD_SIZE": place.world_size,
            "HOROVOD_LOCAL_RANK": place.local_rank,
            "HOROVOD_LOCAL_SIZE": place.local_world_size,
            "HOROVOD_CROSS_RANK": cross_rank,
            "HOROVOD_CROSS_SIZE": cross_size,
            "HOROVOD_HOSTNAME": f"node{self._node}",
            # Horovod makes a URL of both: http://ADDR:PORT/global/0
            "HOROVOD_GLOO_RENDEZVOUS_ADDR": f"{address}:{port}/{self._token}",
            "HOROVOD_GLOO_RENDEZVOUS_PORT": port,
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

            from launcher.runtime.horovod_server import HorovodServer  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise EngineMissingError(
                f"backend=horovod needs `{error.name}`, which is not installed",
                hint="python -m launcher.engines install horovod",
            ) from error
        super().bind()
        assert self._socket is not None
        self._server = HorovodServer(self._socket, self._path)
        self._server.init([SlotInfo(**values) for values in self._slot_values()])

    def start(self) -> None:
        threading.Thread(
            target=self._server.serve_forever, name="horovod-rendezvous", daemon=True
        ).start()

    def sign_off(self) -> None:
        address, port = self._endpoint.address, self._endpoint.port
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(address, port, timeout=_CONNECT_S)
            connection.request("PUT", f"{self._path}/{self._SCOPE}/{self._node}", body=b"done")
            connection.getresponse().read()
            connection.close()

    def _has_signed_off(self, node: int) -> bool:
        return str(node) in self._server.cache.get(self._SCOPE, {})

    @property
    def _token(self) -> str:
        return self._secret.token("the rendezvous of Horovod")

    @property
    def _path(self) -> str:
        """With what the path of every request begins, by the variables of the ranks."""
        return f"/{self._token}:{self._endpoint.port}"

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


def _signed_off(node: int) -> str:
    return f"launcher/signed_off/{node}"


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
