"""Where the ranks of one attempt meet: a port taken early, a store that outlives every rank."""

from __future__ import annotations

import contextlib
import errno
import http.client
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from launcher.errors import ConfigError, EngineMissingError, PreflightError

__all__ = ["ALL_LEFT_S", "Endpoint", "Host", "sign_off"]

logger = logging.getLogger(__name__)

_LEFT = "launcher/agents_left"
_BACKLOG = 4096
_CONNECT_S = 1.0
ALL_LEFT_S = 300.0
"""What torchrun gives the other agents, too, once its own ranks are done."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Address and port of the store, as every rank is told it."""

    address: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read `host:port` or `[v6 address]:port`."""
        address, _, port = text.rpartition(":")
        if not address or not port.isdigit():
            raise ConfigError(f"`{text}` is no endpoint", hint="write it as `host:port`")
        return cls(address=address.strip("[]"), port=int(port))


class Host:
    """The head's side.

    The port is taken before torch is imported, so that a busy one is told at once and early ranks
    of other nodes find somebody listening. The store starts after the fork: it brings a thread.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._socket: socket.socket | None = _listen(endpoint)
        self._store: Any = None

    def release(self) -> None:
        """Let go of the port in a forked rank, which would hold it beyond the agent's life."""
        if self._socket is not None:
            self._socket.close()

    def start(self) -> None:
        """Answer the ranks. No process may be forked from here on."""
        import torch.distributed as dist  # noqa: PLC0415 - agents import torch once, early

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

    def wait_for_agents(self, others: int, limit_s: float, give_up: Callable[[], bool]) -> None:
        """Keep the store until the other agents signed off: ranks elsewhere may still need it."""
        assert self._store is not None
        deadline = time.monotonic() + limit_s
        while self._store.add(_LEFT, 0) < others:
            if time.monotonic() > deadline or give_up():
                logger.info("leaving before all other agents did")
                return
            time.sleep(0.02)


def sign_off(endpoint: Endpoint) -> None:
    """Tell the head that this node's ranks have ended; a head that is gone needs no telling."""
    import torch.distributed as dist  # noqa: PLC0415

    with contextlib.suppress(OSError, dist.DistError), _quiet():
        # Torch retries a refused connection for seconds: look first.
        socket.create_connection((endpoint.address, endpoint.port), timeout=_CONNECT_S).close()
        store = dist.TCPStore(  # type: ignore[attr-defined]
            endpoint.address,
            endpoint.port,
            is_master=False,
            timeout=timedelta(seconds=_CONNECT_S),
        )
        store.add(_LEFT, 1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep C++ stacks of a head that left a moment ago out of the log: nothing is wrong then."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a descriptor is wanted
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _listen(endpoint: Endpoint) -> socket.socket:
    # All addresses, as torch's own store: the one that the others reach may not be ours to bind.
    v6 = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("", endpoint.port),
            family=socket.AF_INET6 if v6 else socket.AF_INET,
            dualstack_ipv6=v6,
            backlog=_BACKLOG,
        )
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise PreflightError(
            f"port {endpoint.port} is in use on this node",
            hint=f"`ss -ltnp 'sport = :{endpoint.port}'` tells by whom; choose another port",
        ) from error


# Where Horovod's ranks meet: its own rendezvous server, inside the head's agent.
_SCOPE = "launcher"
_MEET_S = 300
"""For ranks that import slowly; Horovod's own 30 s are short for four ranks on two cores."""


def horovod_variables(
    slots: Sequence[int], node: int, local_rank: int, endpoint: Endpoint
) -> dict[str, str]:
    """Return what Horovod's Gloo controller has to know about one rank.

    `slots` are the ranks of every node that has any; `node` counts these nodes.
    """
    names = {
        "HOROVOD_RANK": sum(slots[:node]) + local_rank,
        "HOROVOD_SIZE": sum(slots),
        "HOROVOD_LOCAL_RANK": local_rank,
        "HOROVOD_LOCAL_SIZE": slots[node],
        # Among the nodes that have such a local rank at all: nodes may take unequal numbers.
        "HOROVOD_CROSS_RANK": sum(count > local_rank for count in slots[:node]),
        "HOROVOD_CROSS_SIZE": sum(count > local_rank for count in slots),
        "HOROVOD_HOSTNAME": f"node{node}",
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": endpoint.address,
        "HOROVOD_GLOO_RENDEZVOUS_PORT": endpoint.port,
        # Said aloud, because a Horovod built with MPI would take that one.
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_IFACE": os.environ.get("GLOO_SOCKET_IFNAME", ""),
        "HOROVOD_GLOO_TIMEOUT_SECONDS": os.environ.get("HOROVOD_GLOO_TIMEOUT_SECONDS", _MEET_S),
    }
    return {name: str(value) for name, value in names.items() if value != ""}


class HorovodHost:
    """The head's side; the port is taken at once, the server starts after the fork."""

    def __init__(self, endpoint: Endpoint, slots: Sequence[int]) -> None:
        self._server = _bind(endpoint)
        self._server.init(_slot_infos(slots))

    def release(self) -> None:
        """Let go of the port in a forked rank."""
        self._server.server_close()

    def start(self) -> None:
        """Answer the ranks. No process may be forked from here on."""
        threading.Thread(
            target=self._server.serve_forever, name="horovod-rendezvous", daemon=True
        ).start()

    def wait_for_agents(self, others: int, limit_s: float, give_up: Callable[[], bool]) -> None:
        """Keep the server until the other agents signed off."""
        deadline = time.monotonic() + limit_s
        while len(self._server.cache.get(_SCOPE, {})) < others:
            if time.monotonic() > deadline or give_up():
                logger.info("leaving before all other agents did")
                return
            time.sleep(0.02)


def horovod_sign_off(endpoint: Endpoint, node: int) -> None:
    """Tell the head that this node's ranks have ended; a head that is gone needs no telling."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection(endpoint.address, endpoint.port, timeout=_CONNECT_S)
        connection.request("PUT", f"/{_SCOPE}/{node}", body=b"left")
        connection.getresponse().read()
        connection.close()


def _bind(endpoint: Endpoint) -> Any:
    try:
        from horovod.runner.http.http_server import (  # noqa: PLC0415 - only under Horovod
            RendezvousHandler,
            RendezvousHTTPServer,
        )
    except ModuleNotFoundError as error:
        raise EngineMissingError(
            f"backend=horovod needs `{error.name}`, which is not installed",
            hint="python -m launcher.engines install horovod",
        ) from error
    try:
        server = RendezvousHTTPServer((endpoint.address, endpoint.port), RendezvousHandler, 0)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise PreflightError(
            f"port {endpoint.port} is in use on this node",
            hint=f"`ss -ltnp 'sport = :{endpoint.port}'` tells by whom; choose another port",
        ) from error
    server.daemon_threads = True
    return server


def _slot_infos(slots: Sequence[int]) -> list[Any]:
    from horovod.runner.common.util.hosts import SlotInfo  # noqa: PLC0415 - only under Horovod

    return [
        SlotInfo(
            hostname=f"node{node}",
            rank=sum(slots[:node]) + local_rank,
            local_rank=local_rank,
            cross_rank=sum(other > local_rank for other in slots[:node]),
            size=sum(slots),
            local_size=count,
            cross_size=sum(other > local_rank for other in slots),
        )
        for node, count in enumerate(slots)
        for local_rank in range(count)
    ]
