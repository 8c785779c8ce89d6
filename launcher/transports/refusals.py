"""The errors that a person sees when commands cannot be started on other machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from launcher.errors import PreflightError
from launcher.specs import Node
from launcher.transports.kept import Kept, Refusal
from launcher.transports.ssh_failures import Failure
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
