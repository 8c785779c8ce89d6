"""Run all checks in parallel, and report all their problems together."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from launcher.errors import PreflightError
from launcher.nodes import NodeNeeds
from launcher.specs import Plan, RunLayout


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is checked."""

    plan: Plan
    layout: RunLayout
    needs: NodeNeeds


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One reason why the run cannot work."""

    what: str
    """What is wrong, with the name or path that it is about."""
    hint: str
    """What to do, ideally the command."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question about a run. Runs in parallel with the others and needs no other's answer."""

    name: str
    find: Callable[[Subject], Iterable[Problem]]
    """Yields the problems. An exception that it raises counts as a problem too."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one check found, and how long it took."""

    name: str
    problems: tuple[Problem, ...]
    seconds: float


def run_all(checks: Sequence[Check], subject: Subject, *, timeout_s: float) -> list[CheckResult]:
    """Run all checks and return their results, all without problems.

    Raises:
        PreflightError: at least one check found a problem; the context lists all problems.
    """
    results = _results(checks, subject, timeout_s)
    problems = [(each.name, problem) for each in results for problem in each.problems]
    if problems:
        raise _error(problems)
    return results


def _results(checks: Sequence[Check], subject: Subject, timeout_s: float) -> list[CheckResult]:
    answers: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()
    for each in checks:
        # Daemon threads: one that waits for a dead file server cannot be ended.
        threading.Thread(
            target=_run, args=(each, subject, answers), name=each.name, daemon=True
        ).start()
    results: dict[str, CheckResult] = {}
    deadline = time.monotonic() + timeout_s
    while len(results) < len(checks):
        try:
            result = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        results[result.name] = result
    return [results.get(each.name) or _too_slow(each.name, timeout_s) for each in checks]


def _run(each: Check, subject: Subject, answers: queue.SimpleQueue[CheckResult]) -> None:
    started = time.monotonic()
    try:
        problems = tuple(each.find(subject))
    except KeyboardInterrupt:  # the main thread has it too, and ends the command
        return
    except Exception as error:
        what = f"the check failed: {type(error).__name__}: {error}"
        problems = (Problem(what=what, hint="please report this"),)
    seconds = time.monotonic() - started
    answers.put(CheckResult(name=each.name, problems=problems, seconds=seconds))


def _too_slow(name: str, timeout_s: float) -> CheckResult:
    problem = Problem(
        what=f"no answer within {timeout_s:g} s",
        hint="a file system or driver does not answer: run `df`, `ls` and `nvidia-smi` by hand",
    )
    return CheckResult(name=name, problems=(problem,), seconds=timeout_s)


def _error(problems: list[tuple[str, Problem]]) -> PreflightError:
    if len(problems) == 1:
        ((_, only),) = problems
        return PreflightError(only.what, hint=only.hint)
    width = max(len(name) for name, _ in problems)
    rows = [
        f"  {name:<{width}}  {problem.what}\n  {'':<{width}}  -> {problem.hint}"
        for name, problem in problems
    ]
    return PreflightError(
        f"{len(problems)} checks failed; nothing was started",
        context="\n".join(rows),
        hint="each line above says what to do",
    )
