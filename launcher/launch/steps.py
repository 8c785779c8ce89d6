"""The table of contents: the steps from a config to a finished run, in order, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from launcher import engines, nodes, preflight, slurm, staging, supervise
from launcher.checkpoint import next_generation
from launcher.config import LaunchConfig
from launcher.errors import SavedForRequeue
from launcher.launch.prepared import Launch, node_needs, own_job
from launcher.runs.command_line import ANYWHERE, CommandLine
from launcher.specs import Plan, StagedItem


def plan(config: LaunchConfig, commands: CommandLine = ANYWHERE) -> Plan:
    """Return the plan of the next attempt of the run that `config` describes. Starts nothing."""
    return Launch.of(config, commands).next_plan()


def stage(config: LaunchConfig, progress: staging.Progress) -> dict[str, StagedItem]:
    """Bring models and data in place, and nothing more."""
    root = Path(config.storage.root)
    items = staging.items(config.model, config.data)
    with supervise.preemptible():
        return staging.stage(items, root=root, progress=progress)


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
) -> supervise.Outcome:
    """Do everything: resolve, plan, check, stage, supervise. Returns how the run ended.

    A run that is done already stays as it is: its result is returned, and `on_plan` is not called.

    Raises:
        LauncherError: something keeps the run from starting; nothing of an older run is lost.
    """
    nodes.require_real(config.cluster.name)
    launch = Launch.of(config, commands)
    try:
        with supervise.preemptible():
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
) -> supervise.Outcome:
    config = launch.config
    engines.require(config.backend.name, config.cluster.interpreter)
    began = time.monotonic()
    attempt = next_generation(launch.layout.checkpoints)
    launch = launch.with_nodes(attempt)
    first = launch.next_plan()
    on_plan(first)
    preflight.check(
        first,
        layout=launch.layout,
        needs=node_needs(config, attempt, write=True),
        commands=launch.commands,
    )
    checked = time.monotonic()
    launch = launch.freeze()
    staged = stage(config, progress)
    spent = {"preflight": checked - began, "stage": time.monotonic() - checked}
    launch.write_run_folder(staged)
    return supervise.run(
        launch.plan_for,
        layout=launch.layout,
        config=config.supervise,
        observer=observer,
        spent=spent,
        commands=launch.commands,
    )


def submits(config: LaunchConfig) -> bool:
    """Return whether running this means to hand a job to Slurm: we stand outside of any."""
    return nodes.SOURCES[config.cluster.name].batch and own_job(config) is None


def numbered(config: LaunchConfig, number: int) -> LaunchConfig:
    """Return the configuration of one of several runs of a job, named alike at each of its starts.

    Outside of a job nothing has to be started again under the same name.
    """
    job = own_job(config)
    if job is None or config.run_id:
        return config
    return replace(config, run_id=f"{slurm.run_id_of(job, '', config.recipe.name)}-{number}")


def submission(config: LaunchConfig) -> slurm.Submission:
    """Return the batch job that `submit` hands to Slurm. Writes nothing."""
    return Launch.of(config).submission()


def submit(
    config: LaunchConfig, *, progress: staging.Progress, commands: CommandLine = ANYWHERE
) -> slurm.Submitted | supervise.Outcome:
    """Stage, write the configuration down as it is now, and hand a job that runs it to Slurm.

    Returns the job, or how the run ended if it is done already.

    Raises:
        LauncherError: something is missing, or Slurm refuses; no job is there then.
    """
    launch = Launch.of(config, commands)
    done = launch.finished()
    if done:
        return done
    engines.require(config.backend.name, config.cluster.interpreter)
    launch = launch.freeze()
    stage(config, progress)
    with slurm.all_or_nothing(launch.layout):
        if launch.code:  # what is edited while the job waits changes nothing
            launch.code.record()
        return slurm.submit(launch.submission())
