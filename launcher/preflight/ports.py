"""Whether a port can be had."""

from __future__ import annotations

import errno
import socket

from launcher.preflight.check import Subject, Trouble


def is_free(address: str, port: int) -> bool:
    """Return whether a server could listen on `port` of `address`.

    An address that is not of this host cannot be asked about from here and counts as free.
    """
    return _why_not(address, port) is None


def rendezvous_port(subject: Subject) -> Trouble | None:
    """Only for a port that the user chose: another one is taken when ours is busy."""
    meet = subject.plan.rendezvous
    if not meet.pinned:
        return None
    reason = _why_not(meet.address, meet.port)
    if reason is None:
        return None
    return Trouble(
        what=f"port {meet.port} of {meet.address} cannot be used: {reason}",
        hint="choose another with `cluster.port=`, or leave it out and a free one is taken; "
        f"`ss -ltnp 'sport = :{meet.port}'` shows who has it",
    )


def _why_not(address: str, port: int) -> str | None:
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)
    except OSError:
        return None
    family, kind, protocol, _, where = found[0]
    with socket.socket(family, kind, protocol) as server:
        # As torch's store and every server does: without it a port in TIME_WAIT would seem busy.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(where)
            server.listen(1)
        except OSError as error:
            return None if error.errno == errno.EADDRNOTAVAIL else str(error.strerror).lower()
    return None
