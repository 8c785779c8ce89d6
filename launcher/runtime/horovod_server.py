"""Horovod's rendezvous server, for the processes of one attempt only."""

from __future__ import annotations

import hmac
import logging
import socket
from http import HTTPStatus
from typing import Any

from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

__all__ = ["HorovodServer"]

logger = logging.getLogger(__name__)


class _Handler(RendezvousHandler):  # type: ignore[misc]
    """Refuses requests whose path does not begin with that of the server."""

    path: str

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        start, rest = self.path[: len(self.server.path)], self.path[len(self.server.path) :]
        if not hmac.compare_digest(start.encode(), self.server.path.encode()):
            logger.warning("refused a request of %s: it is not of this run", self.client_address)
            self.send_error(HTTPStatus.FORBIDDEN)
            return False
        self.path = rest
        return True


class HorovodServer(RendezvousHTTPServer):  # type: ignore[misc]
    """Answers requests whose path begins with `path`, which only this attempt knows.

    Horovod's server writes and shows the addresses of ranks for everybody, and the names of files
    in the current folder.
    """

    daemon_threads = True
    path: str
    socket: Any

    def __init__(self, listening: socket.socket, path: str) -> None:
        self.path = path
        self._listening = listening
        super().__init__(listening.getsockname(), _Handler, 0)

    def server_bind(self) -> None:
        self.socket.close()
        self.socket = self._listening

    def server_activate(self) -> None:
        """It listens already."""
