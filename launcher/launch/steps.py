"""The table of contents: the steps from a config to a finished run, in order, and nothing else.

What can be refused cheaply is refused before anything is copied, staged or built::

    run     one of several launchers?        nodes.refuse_many_launchers
            same values as before? done?     compare, result.json
            engine installed?                engines.require
            held by no other, folder?        supervise.prepare: from here on `stop` finds the run
            nodes known, healthy, enough?    launch.with_nodes
            program, checkpoints, cores?     preflight.check
            ---------------------------
            code snapshot, staging           launch.freeze, staging.stage
            attempts                         supervise.run

    submit  as above without nodes, plus: would Slurm accept the job? (slurm.require_accepted)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from launcher import engines, nodes, preflight, slurm, staging, supervise
from launcher.checkpoint import next_generation
from launcher.config import LaunchConfig
from launcher.errors import Interrupted, SavedForRequeue
from launcher.interrupts import interruptible
from launcher.launch.prepared import Launch, node_needs, own_job
from launcher.runs.command_line import ANYWHERE, CommandLine
from launcher.specs import Plan, StagedItem


def plan(config: LaunchConfig, commands: CommandLine = ANYWHERE) -> Plan:
    """Return the plan of the next attempt of the run that `config` describes. Starts nothing."""
    return Launch.of(config, commands).next_plan()


def stage(config: LaunchConfig, progress: staging.Progress) -> dict[str, StagedItem]:
    """Stage models and data, and nothing else."""
    with interruptible():
        return _stage(config, progress)


def doctor(config: LaunchConfig, *, tell: Callable[[str], None]) -> nodes.Diagnosis:
    """Find out what is wrong with the nodes; `tell` receives the progress."""
    nodes.require_real(config.cluster.name)
    return nodes.diagnose(node_needs(config, 0, write=True), tell=tell)


def run(
    config: LaunchConfig,
    *,
    observer: supervise.Observer,
    progress: staging.Progress,
    on_plan: Callable[[Plan], None] = lambda _: None,
    commands: CommandLine = ANYWHERE,
) -> supervise.RunResult:
    """Do everything: resolve, plan, check, stage, supervise. Return the result of the run.

    A run that is already done is left as it is: its result is returned without calling `on_plan`.

    Raises:
        LauncherError: the run cannot start; nothing of an older run is lost.
    """
    nodes.require_real(config.cluster.name)
    if own_job(config):  # before one of several takes the run, and its own refusal is not shown
        nodes.refuse_many_launchers()
    launch = Launch.of(config, commands)
    try:
        with interruptible():
            outcome = launch.finished() or _run(launch, observer, progress, on_plan)
    except SavedForRequeue as error:
        asked = launch.start_again()
        error.hint = asked.why if asked else error.hint
        raise
    if outcome.exit_code != SavedForRequeue.exit_code:
        return outcome
    asked = launch.start_again()
    return replace(outcome, requeued=asked.granted, next_start=asked.why) if asked else outcome


def _run(
    launch: Launch,
    observer: supervise.Observer,
    progress: staging.Progress,
    on_plan: Callable[[Plan], None],
) -> supervise.RunResult:
    config = launch.config
    engines.require(config.backend.name, config.cluster.interpreter)
    with supervise.prepare(launch.layout, launch.commands) as preparation:
        began = time.monotonic()
        attempt = next_generation(launch.layout.checkpoints)
        launch = launch.with_nodes(attempt)
        first = launch.next_plan()
        on_plan(first)
        needs = node_needs(config, attempt, write=True)
        preflight.check(first, layout=launch.layout, needs=needs)
        checked = time.monotonic()
        launch = launch.freeze()
        staged = _stage(config, progress)
        spent = {"preflight": checked - began, "stage": time.monotonic() - checked}
        launch.write_run_folder(staged)
        return supervise.run(
            launch.plan_for,
            layout=launch.layout,
            config=config.supervise,
            observer=observer,
            spent=spent,
            ownership=preparation.hand_over(),
            commands=launch.commands,
        )


def _stage(config: LaunchConfig, progress: staging.Progress) -> dict[str, StagedItem]:
    items = staging.items(config.model, config.data)
    return staging.stage(items, root=Path(config.storage.root), progress=progress)


def submits(config: LaunchConfig) -> bool:
    """Return whether running this means to submit a job to Slurm: we are not in a job yet."""
    return nodes.SOURCES[config.cluster.name].batch and own_job(config) is None


def numbered(config: LaunchConfig, number: int) -> LaunchConfig:
    """Return the configuration of one of several runs of a job; each start of it has the same name.

    Outside of a job, nothing is started again under the same name.
    """
    job = own_job(config)
    if job is None or config.run_id:
        return config
    return replace(config, run_id=f"{slurm.run_id_of(job, '', config.recipe.name)}-{number}")


def submission(config: LaunchConfig) -> slurm.Submission:
    """Return the batch job that `submit` submits to Slurm. Writes nothing."""
    return Launch.of(config).submission()


def submit(
    config: LaunchConfig, *, progress: staging.Progress, commands: CommandLine = ANYWHERE
) -> slurm.Submitted | supervise.RunResult:
    """Stage, save the configuration as it is now, and submit a job to Slurm that runs it.

    Return the job, or the result of a run that is already done.

    Raises:
        LauncherError: something is missing, or Slurm refuses; then there is no job.
    """
    launch = Launch.of(config, commands)
    done = launch.finished()
    if done:
        return done
    engines.require(config.backend.name, config.cluster.interpreter)
    launch.require_program()
    slurm.require_accepted(launch.submission())
    with supervise.prepare(launch.layout, commands, submits=True) as preparation:
        launch = launch.freeze()
        _stage(config, progress)
        preparation.hand_over()
        with slurm.all_or_nothing(launch.layout):
            if launch.code:  # edits while the job waits change nothing
                launch.code.record()
            submitted = slurm.submit(launch.submission())
        if request := preparation.stop_request:  # it came while Slurm was asked
            slurm.cancel(submitted.record.job_id)
            raise Interrupted(f"{request.by} stopped the run", hint="the job is cancelled")
        return submitted
