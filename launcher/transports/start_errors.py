"""The errors that a person sees when commands cannot be started on other machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import PreflightError
from launcher.specs import Node
from launcher.transports.channel import Kept, Refusal, last_words
from launcher.transports.transport import Process

__all__ = ["all_of", "end_all", "late", "refused", "unreachable"]

_END_WITHIN_S = 5.0


def unreachable(node: Node, failure: Failure) -> PreflightError:
    """No keeper answers on the node."""
    return PreflightError(f"cannot reach {_called(node)}: {failure.problem}", hint=failure.hint)


def late(node: Node, log: Path, within_s: float) -> PreflightError:
    """The node answers or not, but starts nothing."""
    return PreflightError(
        f"{_called(node)} started nothing within {within_s:g} s",
        context=f"its output would go to `{log}`",
        hint=f"does the storage hang there? look at {log.parent} on {node.name}",
    )


def refused(kept: Kept, refusal: Refusal, log: Path) -> PreflightError:
    """The keeper is there, and says why it cannot start the command."""
    node, command = kept.node, kept.command
    if refusal.kind == "log":
        return PreflightError(
            f"{_called(node)} cannot write to `{log.parent}`: {refusal.why}",
            context="every node writes its output to the run folder",
            hint="storage.root= must be one folder that all nodes see and may write to",
        )
    in_folder = refusal.kind == "folder"
    return PreflightError(
        f"{_called(node)} cannot start `{command.argv[0]}`: {refusal.why}",
        context=f"in the folder `{command.cwd}`",
        hint=f"it is not there on every node: mkdir -p {command.cwd}, or share it"
        if in_folder
        else "check that the program exists there and may be executed: "
        "`python -m launcher plan` shows it",
    )


def all_of(errors: Sequence[PreflightError]) -> PreflightError:
    """Return one error for all: the first, with what the other nodes said."""
    first, *others = errors
    if not others:
        return first
    context = "\n".join(
        part for part in (first.context, *(each.message for each in others)) if part
    )
    return PreflightError(first.message, context=context, hint=first.hint)


def end_all(processes: Iterable[Process]) -> None:
    """End what was started before something else could not be."""
    ending = list(processes)
    for process in ending:
        process.kill()
    for process in ending:
        process.wait(_END_WITHIN_S)


def _called(node: Node) -> str:
    return f"node {node.node_rank} ({node.name})"


# What ssh says when it fails, and what a person can do about it.
COMMAND_NOT_FOUND = 127
_CANNOT_EXECUTE = 126
_NOT_FOUND_BY_CSH = ": Command not found."

TOO_OLD = "is too old"
OTHER_PYTHON = "name an interpreter that is the same on all nodes: cluster.python="

_HINTS = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "if it was installed anew, forget its old key: ssh-keygen -R {known}",
    ),
    (
        "Host key verification failed",
        "its key is not known here yet: log in once by hand, `ssh {dest}`",
    ),
    (
        "Permission denied",
        "let this machine log in without a password: ssh-copy-id {dest}",
    ),
    (
        "Too many authentication failures",
        "name the right key for this host in ~/.ssh/config: IdentityFile and IdentitiesOnly yes",
    ),
    ("Could not resolve hostname", "check the spelling of the host name in the list of hosts"),
    (
        "Connection refused",
        "no ssh server listens there: is the machine up, and is the port right?",
    ),
    ("No route to host", "is the machine up, and in a network that this one reaches?"),
    ("timed out", "is the machine up, and does a firewall let ssh through?"),
    ("Bad configuration option", "mend ~/.ssh/config: `ssh -G {dest}` shows what it says"),
)
_FULL_HOUSE = (
    # What sshd does when too many log in at once (MaxStartups), which is over in a moment.
    "kex_exchange_identification",
    "ssh_exchange_identification",
    "Connection closed by",
    "Connection reset",
)
_NOT_WANTED = "Access denied"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a node could not be asked to do something."""

    problem: str
    hint: str
    passing: bool = False
    """It may work if it is tried again."""


def explain(node: Node, python: str, *, code: int | None, words: str) -> Failure:
    """Read the exit code of ssh, and what it wrote, when no keeper answered."""
    last = last_words(words)
    # Its own failures ssh tells with 255; the shell over there has other codes.
    if code in (COMMAND_NOT_FOUND, _CANNOT_EXECUTE) or _NOT_FOUND_BY_CSH in words:
        return Failure(
            problem=f"it has no `{python}`",
            hint=f"install the same environment there, at the same path, or {OTHER_PYTHON}",
        )
    if TOO_OLD in last:
        return Failure(problem=last, hint=OTHER_PYTHON)
    for needle, hint in _HINTS:
        if needle in words:
            return Failure(problem=last, hint=_fill(hint, node))
    passing = any(each in words for each in _FULL_HOUSE) and _NOT_WANTED not in words
    return Failure(
        problem=last or f"the login ended with exit code {code}",
        hint=_fill("try it by hand: ssh {dest} true", node),
        passing=passing,
    )


def no_process(error: OSError) -> Failure:
    """This machine does not start what leads to the node."""
    return Failure(
        problem=f"this machine cannot start the process that leads there: {error.strerror}",
        hint="a node takes two processes and three open files here: "
        "`ulimit -u` and `ulimit -n` show how many there may be",
    )


def _fill(hint: str, node: Node) -> str:
    host = node.ssh.rpartition("@")[2]
    port = node.ssh_port
    return hint.format(
        dest=f"-p {port} {node.ssh}" if port else node.ssh,
        known=f"'[{host}]:{port}'" if port else host,
    )
