"""Where the ranks of one attempt meet: a port taken early, a store that outlives every rank."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from launcher.errors import ConfigError, PreflightError

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
