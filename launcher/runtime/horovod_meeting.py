"""Where Horovod's ranks meet: its own rendezvous server, inside the head's agent.

Horovod documents two things that a launcher has to give its Gloo controller: `HOROVOD_*` variables
and this server. horovodrun would add ssh, its own way to stop ranks, and one shell per rank.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from launcher.errors import EngineMissingError, PreflightError
from launcher.runtime.meeting import Endpoint

__all__ = ["HorovodHost", "horovod_sign_off", "horovod_variables"]

logger = logging.getLogger("launcher.runtime.agent")

_SCOPE = "launcher"
_CONNECT_S = 1.0
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
