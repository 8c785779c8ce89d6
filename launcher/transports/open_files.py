"""Room for the pipes to many nodes at once."""

from __future__ import annotations

import resource

from launcher.errors import PreflightError

__all__ = ["make_room"]

_PER_LINK = 3
_OTHERS = 256


def make_room(links: int) -> None:
    """Let this process have as many open files as `links` take; usual limits do for 250 nodes.

    Raises:
        PreflightError: it may not have so many.
    """
    wanted = _PER_LINK * links + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise PreflightError(
            f"{links} nodes take {wanted} open files, and this process may have {hard}",
            hint="raise the limit: `ulimit -Hn` shows it, /etc/security/limits.conf sets it",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
