"""`cluster=hostfile`: hosts that ssh reaches, from a file or from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from launcher.errors import ConfigError, nearest
from launcher.nodes import hostfile_syntax, selection
from launcher.nodes.candidate import Candidates, NodesRequest
from launcher.nodes.hostfile_syntax import Entry
from launcher.nodes.local import Machine


def candidates(request: NodesRequest, machine: Machine, environ: Mapping[str, str]) -> Candidates:
    """Return the hosts in the order in which they are written."""
    hosts = hostfile_syntax.candidates(_entries(request))
    spares = hostfile_syntax.candidates(
        _from_command_line("cluster.spares", request.cluster.spares)
    )
    return Candidates(source="hostfile", hosts=selection.select(hosts, spares, request))


def parse(text: str, name: str) -> tuple[Entry, ...]:
    """Read a hostfile; messages call it `name`.

    Raises:
        ConfigError: a line cannot be read; the message has its number.
    """
    entries: list[Entry] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if content:
            entries += hostfile_syntax.parse(content, f"line {number} of {name}")
    if not entries:
        raise ConfigError(
            f"{name} has no hosts", hint=f"write one host per line: {hostfile_syntax.EXPECTED}"
        )
    return hostfile_syntax.merge(entries)


def _entries(request: NodesRequest) -> tuple[Entry, ...]:
    if request.cluster.hostfile and request.cluster.hosts:
        raise ConfigError(
            "cluster.hostfile and cluster.hosts both name the hosts", hint="set only one of them"
        )
    if request.cluster.hosts:
        return _from_command_line("cluster.hosts", request.cluster.hosts)
    if not request.cluster.hostfile:
        raise ConfigError(
            "cluster=hostfile needs the names of the hosts",
            hint="add cluster.hostfile=PATH, or 'cluster.hosts=[gpu1,gpu2]'",
        )
    return parse(_read(Path(request.cluster.hostfile)), request.cluster.hostfile)


def _from_command_line(key: str, texts: tuple[str, ...]) -> tuple[Entry, ...]:
    given = [text.strip() for text in texts]
    if not all(given):
        raise ConfigError(
            f"a name in {key} is empty", hint=f"remove the comma: '{key}=[gpu1,gpu2]'"
        )
    return hostfile_syntax.merge(
        each for text in given for each in hostfile_syntax.parse(text, key)
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(
            f"{path} is not a text file",
            hint=f"expected one host per line: {hostfile_syntax.EXPECTED}",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"cannot read the hostfile {path}: {str(error.strerror).lower()}",
            hint=_nearest_file(path) or "check cluster.hostfile=",
        ) from None


def _nearest_file(path: Path) -> str:
    try:
        names = [each.name for each in path.parent.iterdir() if each.is_file()]
    except OSError:
        return f"the folder {path.parent} does not exist" if not path.parent.exists() else ""
    near = nearest(path.name, [name for name in names if name != path.name])
    return f"did you mean cluster.hostfile={path.parent / near}?" if near else ""
