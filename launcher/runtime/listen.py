"""A listening socket that only those can reach who need it."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import socket
from collections.abc import Iterator

from launcher.errors import PreflightError

__all__ = ["listen"]

logger = logging.getLogger(__name__)

_BACKLOG = 4096


def listen(
    address: str, port: int, *, several_nodes: bool, family: int = socket.AF_UNSPEC
) -> socket.socket:
    """Return a socket that listens on `port` of `address`; port 0 chooses a free one.

    It listens on all addresses if the one that the other nodes use is not known here: it is a name,
    which may mean another address there, or an address that this machine does not have (NAT).

    Raises:
        PreflightError: the port is in use.
    """
    with _busy_port_explained(port):
        if several_nodes and not _is_number(address):
            logger.info("%s is a name: listening on all addresses", address)
            return _on_all(port)
        try:
            return _on(address, port, family)
        except OSError as error:
            unknown = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
            if not unknown:
                raise
            logger.info("%s is not an address of this node: listening on all", address)
            return _on_all(port)


def _on(address: str, port: int, family: int) -> socket.socket:
    found = socket.getaddrinfo(address, port, family=family, type=socket.SOCK_STREAM)
    family, kind, _, _, where = found[0]
    server = socket.socket(family, kind)
    try:
        # A port in TIME_WAIT is not in use.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(where)
        server.listen(_BACKLOG)
    except OSError:
        server.close()
        raise
    return server


def _on_all(port: int) -> socket.socket:
    v6 = socket.has_dualstack_ipv6()
    return socket.create_server(
        ("", port),
        family=socket.AF_INET6 if v6 else socket.AF_INET,
        dualstack_ipv6=v6,
        backlog=_BACKLOG,
    )


def _is_number(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def _busy_port_explained(port: int) -> Iterator[None]:
    """Raise a PreflightError instead of the kernel's `Address already in use`."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise PreflightError(
            f"port {port} is in use on this node",
            hint=f"`ss -ltnp 'sport = :{port}'` shows the process that has it; use another port",
        ) from error
