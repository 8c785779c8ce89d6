"""The checks of a run, before anything is staged or started. None of them imports torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from launcher import nodes
from launcher.errors import PreflightError
from launcher.nodes import SOURCES, NodeNeeds
from launcher.plan import oversubscribed, ranks_on_cores
from launcher.preflight.run import Check, CheckResult, Problem, Subject, run_all
from launcher.programs import find_module, import_path, require_script
from launcher.runs.status import committed_step
from launcher.specs import Cluster, Plan, Program, RunLayout

_TIMEOUT_S = 10.0
_MOST_PER_CORE = 64
"""Up to this many ranks for each core are slow, which is the user's choice. With more, a run does
not reach its first step."""


def program(subject: Subject) -> Iterator[Problem]:
    """The program of the ranks must be one that Python can run."""
    return problems_of_program(subject.plan)


def problems_of_program(plan: Plan) -> Iterator[Problem]:
    """Yield why Python cannot run the program of a plan."""
    env = plan.commands[0].env if plan.commands else {}
    try:
        # Before its first start, a run has no code snapshot yet.
        require_program(plan.program, original=plan.source, env=env, python=plan.python)
    except PreflightError as error:
        yield Problem(what=error.message, hint=error.hint)


def require_program(
    program: Program, *, original: str, env: Mapping[str, str], python: str
) -> None:
    """Refuse a program that does not exist, here or at `original`, or that Python cannot run.

    Raises:
        PreflightError: the hint says what to type instead.
    """
    paths = [Path(each) for each in (program.path, original) if each]
    existing = next((each for each in paths if each.exists()), None)
    path = import_path(Path.cwd(), env)
    if not program.module:
        require_script(existing or paths[-1], path)
    elif existing is None:
        find_module(program.module, path, python=python)


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
