"""All checks of one moment, at once."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence

from launcher.errors import PreflightError
from launcher.nodes.config import PreflightConfig
from launcher.nodes.source import SOURCES
from launcher.preflight import checkpoints, cores, machine, ports, program, storage, supervisor
from launcher.preflight.check import (
    Check,
    CheckResult,
    Moment,
    Subject,
    Trouble,
)
from launcher.runs.command_line import ANYWHERE, CommandLine
from launcher.specs import Plan, RunLayout

_TIMEOUT_S = 10.0
"""How long one check may take before it counts as failed."""
_BOTH = frozenset(Moment)
_EARLY = frozenset({Moment.BEFORE_STAGING})

CHECKS: tuple[Check, ...] = (
    Check(name="supervisor", moments=_BOTH, ask=supervisor.other_supervisor),
    Check(name="program", moments=_BOTH, ask=program.program),
    Check(name="python", moments=_EARLY, ask=machine.python, of_nodes=True),
    Check(name="device", moments=_EARLY, ask=machine.cuda, of_nodes=True),
    Check(name="cores", moments=_EARLY, ask=cores.enough),
    Check(name="storage", moments=_EARLY, ask=storage.writable),
    Check(name="checkpoints", moments=_EARLY, ask=checkpoints.still_there),
    Check(name="disk", moments=_BOTH, ask=storage.free_space),
    Check(name="memory", moments=_BOTH, ask=machine.shared_memory, of_nodes=True),
    Check(name="port", moments=_BOTH, ask=ports.rendezvous_port, of_nodes=True),
)
"""Every check there is, in the order in which troubles are told."""


def check(  # noqa: PLR0913 - every argument but two has a default
    plan: Plan,
    *,
    layout: RunLayout,
    config: PreflightConfig | None = None,
    commands: CommandLine = ANYWHERE,
    moment: Moment = Moment.BEFORE_STAGING,
    checks: Sequence[Check] = CHECKS,
    timeout_s: float = _TIMEOUT_S,
) -> list[CheckResult]:
    """Ask every check of `moment` in parallel and return what they found, all of them well.

    Raises:
        PreflightError: at least one found trouble; the context lists all that did.
    """
    subject = Subject(
        plan=plan,
        layout=layout,
        config=config or PreflightConfig(),
        commands=commands,
    )
    here = SOURCES[plan.cluster.source].one_machine
    asked = [each for each in checks if moment in each.moments and (here or not each.of_nodes)]
    results = ask(asked, subject, timeout_s)
    troubles = [(each.name, each.trouble) for each in results if each.trouble]
    if troubles:
        raise _error(troubles)
    return results


def ask(checks: Sequence[Check], subject: Subject, timeout_s: float) -> list[CheckResult]:
    """Return what every check found, in their order, none later than the time limit."""
    answers: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
    for each in checks:
        # A daemon thread each: one that waits for a dead file server cannot be ended, only left.
        threading.Thread(
            target=_ask_one, args=(each, subject, answers), name=each.name, daemon=True
        ).start()
    found: dict[str, CheckResult] = {}
    deadline = time.monotonic() + timeout_s
    while len(found) < len(checks):
        try:
            result = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        found[result.name] = result
    return [found.get(each.name, _too_slow(each.name, timeout_s)) for each in checks]


def _ask_one(each: Check, subject: Subject, answers: queue.SimpleQueue[CheckResult]) -> None:
    started = time.monotonic()
    try:
        trouble = each.ask(subject)
    except Exception as error:
        trouble = Trouble(
            what=f"the check itself failed: {type(error).__name__}: {error}",
            hint="please report this",
        )
    seconds = time.monotonic() - started
    answers.put(CheckResult(name=each.name, trouble=trouble, seconds=seconds))


def _too_slow(name: str, timeout_s: float) -> CheckResult:
    trouble = Trouble(
        what=f"no answer within {timeout_s:g} s",
        hint="a file system or driver does not answer: try `df`, `ls` and `nvidia-smi` by hand",
    )
    return CheckResult(name=name, trouble=trouble, seconds=timeout_s)


def _error(troubles: list[tuple[str, Trouble]]) -> PreflightError:
    if len(troubles) == 1:
        ((_, only),) = troubles
        return PreflightError(only.what, hint=only.hint)
    width = max(len(name) for name, _ in troubles)
    rows = [
        f"  {name:<{width}}  {trouble.what}\n  {'':<{width}}  -> {trouble.hint}"
        for name, trouble in troubles
    ]
    return PreflightError(
        f"{len(troubles)} checks failed; nothing was started",
        context="\n".join(rows),
        hint="each line above says what to do about it",
    )
