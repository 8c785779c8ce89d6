"""The errors that a person sees when a node cannot start its command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import PreflightError
from launcher.specs import Node
from launcher.transports.channel import RemoteProcess, StartError, last_line

__all__ = [
    "COMMAND_NOT_FOUND",
    "OTHER_PYTHON",
    "TOO_OLD",
    "Explanation",
    "all_of",
    "cannot_start_process",
    "end_all",
    "explain",
    "late",
    "no_hello",
    "refused",
    "unreachable",
]

COMMAND_NOT_FOUND = 127
TOO_OLD = "is too old"
OTHER_PYTHON = "set an interpreter that all nodes have: cluster.python="

_CANNOT_EXECUTE = 126
_FROM_SSH = 255
_START_FILE = (
    "a start file there (~/.bashrc; of other shells ~/.zshenv, ~/.tcshrc, "
    "~/.config/fish/config.fish) waits, ends or replaces the shell, or reads its input: let it do "
    "so in interactive shells only, with `case $- in *i*) ;; *) return ;; esac` in its first line"
)
_NO_LIBRARY = "error while loading shared libraries"
_NOT_FOUND_BY_CSH = ": Command not found."
_END_WITHIN_S = 10.0
_LIMITS = (
    "a limit there is too low: `ssh {dest} ulimit -a` prints them; `ulimit` in ~/.bashrc or "
    "/etc/security/limits.conf sets them"
)
_TOO_LOW = (
    "Resource temporarily unavailable",
    "can't start new thread",
    "Too many open files",
    "shared object file: Error 24",  # the same, by the dynamic linker
    "Cannot allocate memory",
    "cannot allocate memory",
    "failed to map segment",
    "MemoryError",
)
_HINTS = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "if the host was reinstalled, remove its old key: ssh-keygen -R {known}",
    ),
    (
        "Host key verification failed",
        "this machine does not know the host's key yet: log in once by hand, `ssh {dest}`",
    ),
    (
        "Permission denied",
        "set up a login without a password: ssh-copy-id {dest}",
    ),
    (
        "Too many authentication failures",
        "set the right key for this host in ~/.ssh/config: IdentityFile and IdentitiesOnly yes",
    ),
    ("Could not resolve hostname", "check the spelling of the host name in the list of hosts"),
    (
        "Connection refused",
        "no ssh server listens there: is the machine up, and is the port right?",
    ),
    ("No route to host", "is the machine up, and in a network that this one reaches?"),
    ("timed out", "is the machine up, and does its firewall allow ssh?"),
    (
        "standard input is closed",
        "a start file there (~/.bashrc) closes the input of the shell: remove `exec <...` from it",
    ),
    ("Bad configuration option", "fix ~/.ssh/config: `ssh -G {dest}` prints what ssh reads in it"),
)
"""Words in the messages of ssh -> what to do."""
_TOO_MANY_LOGINS = (
    # sshd drops connections when too many log in together (MaxStartups). That is over soon.
    "kex_exchange_identification",
    "ssh_exchange_identification",
    "Connection closed by",
    "Connection reset",
)
_REFUSED_FOR_GOOD = "Access denied"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why no node agent answered, and what to do."""

    problem: str
    hint: str
    temporary: bool = False
    """It may work on the next try."""


def explain(
    node: Node, python: str, *, code: int | None, stderr: str, greeting: str = ""
) -> Explanation:
    """Explain the exit code of ssh and what it wrote, when no node agent answered.

    `greeting` is what the login printed instead of a hello.
    """
    last = last_line(stderr)
    if any(words in stderr for words in _TOO_LOW):
        return Explanation(problem=last, hint=_fill(_LIMITS, node))
    # ssh itself exits with 255; the shell on the node has other codes.
    not_found = code in (COMMAND_NOT_FOUND, _CANNOT_EXECUTE) or _NOT_FOUND_BY_CSH in stderr
    if not_found and python in stderr:
        return Explanation(
            problem=last if _NO_LIBRARY in stderr else f"it has no `{python}`",
            hint=f"install the same environment there, at the same path, or {OTHER_PYTHON}",
        )
    if TOO_OLD in last:
        return Explanation(problem=last, hint=OTHER_PYTHON)
    for words, hint in _HINTS:
        if words in stderr:
            return Explanation(problem=last, hint=_fill(hint, node))
    if code != _FROM_SSH or not stderr.strip():
        said = last or greeting
        return Explanation(
            problem=f"its login shell ended with exit code {code} and did not run our command"
            + (f": {said}" if said else ""),
            hint=_START_FILE,
        )
    temporary = any(words in stderr for words in _TOO_MANY_LOGINS)
    return Explanation(
        problem=last,
        hint=_fill("try it by hand: ssh {dest} true", node),
        temporary=temporary and _REFUSED_FOR_GOOD not in stderr,
    )


def no_hello(within_s: float, said: str) -> Explanation:
    """Explain a login that neither ran our command in time nor ended."""
    last = last_line(said)
    return Explanation(
        problem=f"its login shell did not run our command within {within_s:g} s"
        + (f": {last}" if last else ""),
        hint=_START_FILE,
    )


def cannot_start_process(error: OSError) -> Explanation:
    """Explain that this machine cannot start the process that leads to the node."""
    return Explanation(
        problem=f"this machine cannot start the process that connects to it: {error.strerror}",
        hint="each node takes two processes and three open files on this machine: "
        "`ulimit -u` and `ulimit -n` print the limits",
    )


def unreachable(node: Node, explanation: Explanation) -> PreflightError:
    """Return the error for a node whose agent does not answer."""
    return PreflightError(
        f"cannot reach {_called(node)}: {explanation.problem}", hint=explanation.hint
    )


def late(node: Node, log: Path, within_s: float) -> PreflightError:
    """Return the error for a node that did not start its command in time."""
    return PreflightError(
        f"{_called(node)} did not start its command within {within_s:g} s",
        context=f"its output would go to `{log}`",
        hint=f"the storage may hang there: try to list {log.parent} on {node.name}",
    )


def refused(process: RemoteProcess, error: StartError, log: Path) -> PreflightError:
    """Return the error for a node whose agent reports why it cannot start the command."""
    node, command = process.node, process.command
    if error.kind == "log":
        return PreflightError(
            f"{_called(node)} cannot write to `{log.parent}`: {error.why}",
            context="every node writes its output to the run folder",
            hint="set storage.root= to a folder that all nodes see and can write to",
        )
    if error.kind == "folder":
        hint = f"create it on every node (mkdir -p {command.cwd}), or use a shared folder"
    else:
        hint = (
            "check that the program exists there and is executable: "
            "`python -m launcher plan` prints it"
        )
    return PreflightError(
        f"{_called(node)} cannot start `{command.argv[0]}`: {error.why}",
        context=f"in the folder `{command.cwd}`",
        hint=hint,
    )


def all_of(errors: Sequence[PreflightError]) -> PreflightError:
    """Return one error for several nodes: the first, with the messages of the others."""
    first, *others = errors
    if not others:
        return first
    context = "\n".join(
        part for part in (first.context, *(each.message for each in others)) if part
    )
    return PreflightError(first.message, context=context, hint=first.hint)


def end_all(processes: Iterable[RemoteProcess]) -> None:
    """End commands that were started before another one failed to start."""
    ending = list(processes)
    for process in ending:
        process.kill()
    for process in ending:
        process.wait_until_over(_END_WITHIN_S)


def _called(node: Node) -> str:
    return f"node {node.node_rank} ({node.name})"


def _fill(hint: str, node: Node) -> str:
    host = node.ssh_destination.rpartition("@")[2]
    port = node.ssh_port
    return hint.format(
        dest=f"-p {port} {node.ssh_destination}" if port else node.ssh_destination,
        known=f"'[{host}]:{port}'" if port else host,
    )
