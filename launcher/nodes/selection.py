"""Which of a source's hosts are candidates, and in which order: include, exclude, spares, head."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from launcher.errors import ConfigError, nearest
from launcher.nodes.candidate import Candidate, NodesRequest
from launcher.specs.hostlist import expand, same_host


def select(
    hosts: Sequence[Candidate], spares: Sequence[Candidate], request: NodesRequest
) -> tuple[Candidate, ...]:
    """Return the hosts that the request selects, the head first and `spares` last.

    A spare that is also in `hosts` moves to the end and keeps the values it has there.

    Raises:
        ConfigError: a name matches no host; the hint offers the nearest one.
    """
    known = {host.name: host for host in (*spares, *hosts)}
    included = frozenset(match("cluster.include", request.cluster.include, known))
    excluded = frozenset(match("cluster.exclude", request.cluster.exclude, known))
    spelled = {same_host(host.name): host.name for host in (*spares, *hosts)}
    spare_names = dict.fromkeys(spelled[same_host(spare.name)] for spare in spares)
    plain = [
        host
        for host in hosts
        if host.name not in spare_names and (not included or host.name in included)
    ]
    last = [replace(known[name], spare=True) for name in spare_names]
    left = [host for host in (*plain, *last) if host.name not in excluded]
    if not left:
        raise ConfigError(
            "cluster.include and cluster.exclude leave no host", hint="exclude fewer hosts"
        )
    ordered = _head_first(left, request.cluster.head)
    return tuple(
        replace(host, node=replace(host.node, node_rank=place))
        for place, host in enumerate(ordered)
    )


def match(key: str, texts: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return the names that `texts`, the value of `key`, describe.

    Raises:
        ConfigError: one of them is not `known`; the hint offers the nearest one.
    """
    valid = {same_host(name): name for name in known}
    names: list[str] = []
    for text in texts:
        if ":" in text and same_host(text) not in valid:
            raise ConfigError(
                f"`{key}` names `{text}`: single devices of a host cannot be chosen",
                hint="name only the host, and set CUDA_VISIBLE_DEVICES on that node",
            )
        try:
            names += [text] if ":" in text else expand(text)
        except ValueError as error:
            raise ConfigError(
                f"`{key}` names `{text}`: {error}", hint=f"for example '{key}=[gpu[1-4],gpu7]'"
            ) from None
    for name in names:
        if same_host(name) not in valid:
            raise _no_such_host(key, name, sorted(valid.values()))
    return tuple(dict.fromkeys(valid[same_host(name)] for name in names))


def _head_first(hosts: list[Candidate], head: str) -> list[Candidate]:
    if not head:
        return hosts
    named = [
        replace(host, spare=False) for host in hosts if same_host(host.name) == same_host(head)
    ]
    if not named:
        raise _no_such_host("cluster.head", head, [host.name for host in hosts])
    return named + [host for host in hosts if host.name != named[0].name]


def _no_such_host(key: str, name: str, names: Sequence[str]) -> ConfigError:
    near = nearest(name, names)
    guess = f"did you mean `{near}`? " if near else ""
    return ConfigError(
        f"`{key}` names `{name}`, which is not among the hosts",
        hint=f"{guess}The hosts are: {listing(names)}",
    )


def listing(names: Sequence[str], most: int = 8) -> str:
    """Return names for a sentence; only the first of very many."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
