"""The checks of a run, before anything is staged or started. None of them imports torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from launcher import nodes
from launcher.errors import PreflightError, nearest
from launcher.nodes import SOURCES, NodeNeeds
from launcher.plan import oversubscribed, ranks_on_cores
from launcher.preflight.run import Check, CheckResult, Problem, Subject, run_all
from launcher.runs.status import committed_step
from launcher.specs import Cluster, Plan, RunLayout

_TIMEOUT_S = 10.0
_MOST_PER_CORE = 64
"""Up to this many ranks for each core are slow, which is the user's choice. With more, a run does
not reach its first step."""


def program(subject: Subject) -> Iterator[Problem]:
    """The program of the ranks must be a file that can be read."""
    yield from _problems_of(_program_path(subject.plan))


def require_program(path: Path) -> None:
    """Check a program alone, before any node is known.

    Raises:
        PreflightError: it is not a file that can be read.
    """
    for problem in _problems_of(path):
        raise PreflightError(problem.what, hint=problem.hint)


def _problems_of(path: Path) -> Iterator[Problem]:
    if path.is_dir():
        yield Problem(what=f"the program {path} is a folder", hint="give a file in it: script=")
    elif not path.is_file():
        yield Problem(what=f"the program {path} does not exist", hint=_nearest_program(path))
    elif not os.access(path, os.R_OK):
        yield Problem(what=f"the program {path} cannot be read", hint=f"chmod +r {path}")


def _program_path(plan: Plan) -> Path:
    """Before its first start, a run has no code snapshot yet."""
    path = Path(plan.program.path)
    return path if path.exists() else Path(plan.source)


def _nearest_program(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist either; check the path"
    files = [each.name for each in folder.glob("*.py")]
    near = nearest(path.name, files)
    if near:
        return f"did you mean `{folder / near}`?"
    listed = ", ".join(sorted(files)[:8])
    return f"Python files in {folder}: {listed}" if listed else f"{folder} has no Python files"


def cores(subject: Subject) -> Iterator[Problem]:
    """A number of ranks that no machine can carry is a typo."""
    excess = _excess(subject.plan.cluster)
    if excess:
        yield Problem(
            what=f"{excess}: more than {_MOST_PER_CORE} for each core",
            hint="request fewer: `slots=` on each node, or `nodes=`; "
            "`launcher plan cluster=sim` shows a large run without starting it",
        )


def _excess(cluster: Cluster) -> str:
    if SOURCES[cluster.source].one_machine:
        ranks, cpus = cluster.world_size, len(os.sched_getaffinity(0))
        on_cpu = not any(node.gpus for node in cluster.nodes)
        too_many = on_cpu and ranks > _MOST_PER_CORE * cpus
        return f"{ranks_on_cores(ranks, cpus)} of this machine" if too_many else ""
    worst = max(
        oversubscribed(cluster, ranks_per_core=_MOST_PER_CORE),
        key=lambda node: node.slots,
        default=None,
    )
    return f"{ranks_on_cores(worst.slots, worst.cpus)} on {worst.name}" if worst else ""


def checkpoints(subject: Subject) -> Iterator[Problem]:
    """A run that was saved must not begin at step 0 because a folder is gone.

    The ranks only see what is in the checkpoint folder; the records of earlier attempts know more.
    """
    from launcher.checkpoint import list_commits  # noqa: PLC0415 - keeps start-up light

    layout, resume = subject.layout, subject.plan.checkpoint.resume
    if resume == "never" or list_commits(layout.checkpoints):
        return
    step = committed_step(layout)
    if step is not None:
        yield Problem(
            what=f"run `{layout.run_id}` was saved at step {step}, but no checkpoint is left in "
            f"{layout.checkpoints}",
            hint="is the storage mounted? restore the folder, or start over with resume=never",
        )
    elif resume != "auto":  # checked here because not every program looks for checkpoints
        yield Problem(
            what=f"resume={resume}, but run `{layout.run_id}` has no checkpoint",
            hint="omit resume= to start at step 0, or give the run_id= of a saved run",
        )


def this_machine(subject: Subject) -> Iterator[Problem]:
    """If all nodes are this machine, it is asked and judged like any other node.

    Other machines were asked before they were chosen.
    """
    plan, request = subject.plan, subject.needs.request
    if not SOURCES[plan.cluster.source].one_machine:
        return
    needs = replace(subject.needs, request=replace(request, device=plan.device))
    try:
        report = nodes.inspect_this_machine(needs)
    except PreflightError as error:
        yield Problem(what=error.message, hint=error.hint)
        return
    for row in report.table.rows:
        for cell in row.bad:
            yield Problem(what=f"this machine: {cell.what}", hint=cell.hint)


CHECKS: tuple[Check, ...] = (
    Check(name="program", find=program),
    Check(name="cores", find=cores),
    Check(name="checkpoints", find=checkpoints),
    Check(name="node", find=this_machine),
)
"""Every check, in the order in which problems are listed."""


def check(plan: Plan, *, layout: RunLayout, needs: NodeNeeds) -> list[CheckResult]:
    """Run every check in parallel and return the results, all without problems.

    Raises:
        PreflightError: at least one check found a problem; the context lists all problems.
    """
    subject = Subject(plan=plan, layout=layout, needs=needs)
    return run_all(CHECKS, subject, timeout_s=_TIMEOUT_S)
