"""The table of contents: the steps from a config to a finished run, in order, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from launcher import (
    capsule,
    cluster,
    engines,
    preflight,
    slurm,
    staging,
    storage,
    supervise,
    transports,
)
from launcher import plan as planning
from launcher.checkpoint import next_generation
from launcher.config import CodeChoice, LaunchConfig, compare, dump
from launcher.errors import ConfigError, PreflightError, SavedForRequeue
from launcher.preflight.ports import is_free
from launcher.runs import environment, files
from launcher.specs import CheckpointPolicy, Cluster, Job, Plan, Program, RunLayout, StagedItem

_PORT_TRIES = 50


def plan(config: LaunchConfig) -> Plan:
    """Return the plan of the next attempt of the run that `config` describes. Starts nothing."""
    return _Launch.of(config).next_plan()


def stage(config: LaunchConfig, progress: staging.Progress) -> dict[str, StagedItem]:
    """Bring models and data in place, and nothing more."""
    root = storage.local_root(config.storage.root)
    items = staging.items(config.model, config.data)
    with supervise.preemptible():
        return staging.stage(items, root=root, progress=progress)


def doctor(config: LaunchConfig, *, tell: Callable[[str], None]) -> preflight.Diagnosis:
    """Find out what is wrong with the nodes; `tell` is given what is being done."""
    cluster.require_real(config.cluster.name)
    asked = _cluster_request(config)
    candidates = cluster.candidates(asked)
    if candidates.source == "local":  # every node is this machine
        candidates = replace(candidates, hosts=candidates.hosts[:1])
    request = _look_request(config, 0, write=True)
    with contextlib.closing(_transport(config, candidates)) as transport:
        return preflight.diagnose(candidates, transport, request, tell=tell)


def run(
    config: LaunchConfig,
    *,
    observer: supervise.Observer,
    progress: staging.Progress,
    on_plan: Callable[[Plan], None] = lambda _: None,
) -> supervise.Outcome:
    """Do everything: resolve, plan, check, stage, supervise. Returns how the run ended.

    A run that is done already stays as it is: its result is returned, and `on_plan` is not called.

    Raises:
        LauncherError: something keeps the run from starting; nothing of an older run is lost.
    """
    cluster.require_real(config.cluster.name)
    launch = _Launch.of(config)
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
    launch: _Launch,
    observer: supervise.Observer,
    progress: staging.Progress,
    on_plan: Callable[[Plan], None],
) -> supervise.Outcome:
    config = launch.config
    engines.require(config.backend.name, config.cluster.python or sys.executable)
    began = time.monotonic()
    launch = launch.with_nodes(next_generation(launch.layout.checkpoints))
    first = launch.next_plan()
    on_plan(first)
    preflight.check(first, layout=launch.layout, config=launch.preflight_config())
    checked = time.monotonic()
    launch = launch.freeze()
    staged = stage(config, progress)
    spent = {"preflight": checked - began, "stage": time.monotonic() - checked}
    launch.write_run_folder(staged)
    return supervise.run(
        launch.plan_for,
        layout=launch.layout,
        policy=launch.supervise_policy(),
        observer=observer,
        spent=spent,
    )


def submits(config: LaunchConfig) -> bool:
    """Return whether running this means to hand a job to Slurm: we stand outside of any."""
    return config.cluster.name == "slurm" and _job(config) is None


def numbered(config: LaunchConfig, number: int) -> LaunchConfig:
    """Return the configuration of one of several runs of a job, named alike at each of its starts.

    Outside of a job nothing has to be started again under the same name.
    """
    job = _job(config)
    if job is None or config.run_id:
        return config
    return replace(config, run_id=f"{slurm.run_id_of(job, '', config.recipe.name)}-{number}")


def submission(config: LaunchConfig) -> slurm.Submission:
    """Return the batch job that `submit` hands to Slurm. Writes nothing."""
    return _Launch.of(config).submission()


def submit(
    config: LaunchConfig, *, progress: staging.Progress
) -> slurm.Submitted | supervise.Outcome:
    """Stage, write the configuration down as it is now, and hand a job that runs it to Slurm.

    Returns the job, or how the run ended if it is done already.

    Raises:
        LauncherError: something is missing, or Slurm refuses; no job is there then.
    """
    launch = _Launch.of(config)
    done = launch.finished()
    if done:
        return done
    engines.require(config.backend.name, config.cluster.python or sys.executable)
    launch = launch.freeze()
    stage(config, progress)
    with slurm.all_or_nothing(launch.layout):
        if launch.code:  # what is edited while the job waits changes nothing
            launch.code.record()
        return slurm.submit(launch.submission())


def new_run_id(recipe: str) -> str:
    """Return a name for a run that sorts by time and that nobody else chose."""
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    return f"{recipe}-{stamp}-{secrets.token_hex(2)}"


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The nodes of one attempt, and what they said if they were asked."""

    attempt: int
    nodes: Cluster
    seen: preflight.Look | None = None

    def is_free(self, address: str, port: int) -> bool:
        """Tell whether ranks can meet there; what the others reached on that node is known."""
        if self.seen is None:
            return is_free(address, port)
        names = [node.name for node in self.nodes.nodes if node.address == address]
        return any(self.seen.ports.get(name) == port for name in names)

    def environment(self) -> dict[str, dict[str, Any]]:
        """Return what each node that was asked is made of."""
        return self.seen.environment() if self.seen else {}


@dataclass(frozen=True, kw_only=True)
class _Launch:
    """What the steps share."""

    config: LaunchConfig
    layout: RunLayout
    job: Job | None
    """The batch job that all this happens in."""
    code: capsule.Code | None
    """None runs the program where it lies."""
    found: _Found | None = None
    """The nodes of the first attempt; later ones look again."""

    @classmethod
    def of(cls, config: LaunchConfig) -> _Launch:
        root = storage.local_root(config.storage.root)
        job = _job(config)
        run_id = slurm.run_id_of(job, config.run_id, config.recipe.name) if job else config.run_id
        config = replace(
            config,
            run_id=run_id or new_run_id(config.recipe.name),
            storage=replace(config.storage, root=str(root)),
        )
        layout = RunLayout.of(root, config.run_id)
        if job:
            config = replace(config, resume=slurm.resume_of(layout, job, config.resume))
        return cls(
            config=config,
            layout=layout,
            job=job,
            code=_code(config, layout, root),
        )

    def freeze(self) -> _Launch:
        """Copy the code, before anything takes long enough to edit it meanwhile."""
        return replace(self, code=self.code.freeze() if self.code else None)

    def finished(self) -> supervise.Outcome | None:
        """Return how the run ended if it is done already, and neither made longer nor started over.

        Raises:
            ConfigError: it was started with other values.
        """
        if compare.longer(compare.require_same_run(self.layout.config, self.config)):
            return None
        done = supervise.finished(self.layout)
        return done if self.config.resume in ("auto", "required") else None

    def submission(self) -> slurm.Submission:
        """Return the batch job that runs this as the configuration says now."""
        config = self.config
        options = config.cluster.slurm
        early = slurm.early_warning(self.layout, options, grace_s=config.supervise.grace_s)
        patient = replace(config.supervise, grace_s=early.grace_s)
        return slurm.prepare(
            self.layout,
            options=options,
            nodes=config.nodes if isinstance(config.nodes, int) else 1,
            signal_s=early.signal_s,
            python=config.cluster.python or sys.executable,
            config=dump(replace(config, supervise=patient)),
        )

    def start_again(self) -> slurm.Requeue | None:
        """Ask Slurm for the next start of the job that we are in; None if it is not to be asked."""
        if self.job is None or not self.config.cluster.slurm.requeue:
            return None
        # Slurm ends the job to start it again: all is saved, and the last words are still to come.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return slurm.requeue(self.job, self.layout)

    def with_nodes(self, attempt: int) -> _Launch:
        """Find the nodes of the next attempt, and have them write in the storage root."""
        at_least = None if attempt == 1 else self.config.cluster.min_nodes
        return replace(self, found=self._find(attempt, write=True, at_least=at_least))

    def next_plan(self) -> Plan:
        attempt = next_generation(self.layout.checkpoints)
        return self._plan(self._found(attempt) or self._find(attempt))

    def plan_for(self, attempt: int) -> Plan:
        """Build the plan of an attempt of a run that was started: with the nodes that are left.

        Raises:
            SavedForRequeue: they are too few, and another start of our batch job brings others.
        """
        found = self._found(attempt)
        try:
            found = found or self._find(attempt, at_least=self.config.cluster.min_nodes)
        except PreflightError as error:
            if self.job is None:
                raise
            raise SavedForRequeue(error.message, context=error.context, hint=error.hint) from error
        return self._plan(found)

    def _found(self, attempt: int) -> _Found | None:
        return self.found if self.found and self.found.attempt == attempt else None

    def _find(self, attempt: int, *, write: bool = False, at_least: int | None = None) -> _Found:
        """Choose the nodes of `attempt`, after they were asked how they are if that makes sense."""
        config = self.config
        asked = _cluster_request(config)
        candidates = cluster.candidates(asked)
        if candidates.complete or not config.cluster.probe:
            nodes = cluster.choose(candidates, None, asked, at_least=at_least)
            return _Found(attempt=attempt, nodes=nodes)
        request = _look_request(config, attempt, write=write)
        with contextlib.closing(_transport(config, candidates)) as transport:
            seen = preflight.look(candidates, transport, request)
        nodes = seen.choose(candidates, asked, at_least=at_least)
        return _Found(attempt=attempt, nodes=nodes, seen=seen)

    def _plan(self, found: _Found) -> Plan:
        """Build a plan whose ranks meet at a port that is free, unless the user pinned one."""
        request = self._request(found.attempt, found.nodes)
        for port_try in range(_PORT_TRIES):
            made = planning.build(replace(request, port_try=port_try))
            meet = made.rendezvous
            if meet.pinned or found.is_free(meet.address, meet.port):
                break
        return made

    def _request(self, attempt: int, nodes: Cluster) -> planning.PlanRequest:
        config, code = self.config, self.code
        program = _program(config)
        return planning.PlanRequest(
            run_id=config.run_id,
            attempt=attempt,
            storage_root=config.storage.root,
            cluster=nodes,
            backend=config.backend.name,
            program=replace(program, path=str(code.program)) if code else program,
            python=config.cluster.python or sys.executable,
            cwd=str(code.packages if code else Path.cwd()),
            checkpoint=CheckpointPolicy(
                every_steps=config.checkpoint.every_steps,
                keep=config.checkpoint.keep,
                resume=config.resume,
            ),
            stage=staging.items(config.model, config.data),
            port=config.cluster.port or None,
            grace_s=config.supervise.grace_s,
            logical_shards=config.fixed_shards,
            env=code.variables(config.env, os.environ.get("PYTHONPATH", ""))
            if code
            else config.env,
            code=code.frozen if code else None,
            notes=(*(code.notes if code else ()), *self._longer()),
        )

    def _longer(self) -> tuple[str, ...]:
        """Return the note on a run that is to go on beyond its end."""
        if self.config.resume == "never":
            return ()
        found = compare.longer(compare.require_same_run(self.layout.config, self.config))
        if not found:
            return ()
        note = (
            f"the run is made longer: {found}. A learning rate that falls towards the end of "
            "training is, from here on, that of the longer run"
        )
        return (note,)

    def preflight_config(self) -> preflight.PreflightConfig:
        return preflight.PreflightConfig(min_free_gb=self.config.preflight.min_free_gb)

    def supervise_policy(self) -> supervise.SupervisePolicy:
        chosen = self.config.supervise
        return supervise.SupervisePolicy(
            max_restarts=chosen.max_restarts,
            grace_s=chosen.grace_s,
            hang_timeout_s=chosen.hang_timeout_s,
            lost_after_s=chosen.lost_after_s,
        )

    def write_run_folder(self, staged: dict[str, StagedItem]) -> None:
        """Write what the ranks and the read-side verbs need before the first rank starts."""
        self.layout.path.mkdir(parents=True, exist_ok=True)
        config = self.config
        if config.code is CodeChoice.new:  # once: who goes on later keeps what was new now
            config = replace(config, code=CodeChoice.frozen)
        files.replace(self.layout.config, dump(config))
        folders = {name: item.path for name, item in staged.items()}
        files.replace(self.layout.staged, json.dumps(folders, indent=2))
        if self.job:
            slurm.note_own(self.layout, self.job)
        if self.code:
            self.code.record()
        environment.write(
            self.layout,
            code=self.code.frozen if self.code else None,
            nodes=self.found.environment() if self.found else None,
        )


def _job(config: LaunchConfig) -> Job | None:
    """Return the batch job that the run happens in."""
    return Job.from_environ(os.environ) if config.cluster.name == "slurm" else None


def _code(config: LaunchConfig, layout: RunLayout, root: Path) -> capsule.Code | None:
    if config.code is CodeChoice.shared:
        return None
    return capsule.Code.of(
        Path(_program(config).path),
        layout=layout,
        storage_root=root,
        cwd=Path.cwd(),
        anew=config.code is CodeChoice.new or config.resume == "never",
    )


def _cluster_request(config: LaunchConfig) -> cluster.ClusterRequest:
    return cluster.ClusterRequest(
        source=config.cluster.name,
        nodes=config.nodes if isinstance(config.nodes, int) else None,
        slots=config.slots if isinstance(config.slots, int) else None,
        device=config.device.value,
        hostfile=config.cluster.hostfile,
        hosts=config.cluster.hosts,
        include=config.cluster.include,
        exclude=config.cluster.exclude,
        head=config.cluster.head,
        spares=config.cluster.spares,
        min_nodes=config.cluster.min_nodes,
    )


def _look_request(config: LaunchConfig, attempt: int, *, write: bool) -> preflight.LookRequest:
    derived = tuple(planning.port(config.run_id, attempt, each) for each in range(_PORT_TRIES))
    return preflight.LookRequest(
        root=storage.local_root(config.storage.root),
        ports=derived,
        pinned=config.cluster.port,
        backend=config.backend.name,
        device=config.device.value,
        slots=config.slots if isinstance(config.slots, int) else None,
        min_free_gb=config.preflight.min_free_gb,
        brings_launcher=config.code is not CodeChoice.shared,
        write=write,
    )


def _transport(config: LaunchConfig, candidates: cluster.Candidates) -> transports.Transport:
    reach = transports.Reach(nodes=candidates.nodes, python=config.cluster.python or sys.executable)
    return transports.create(planning.TRANSPORT_OF_SOURCE[candidates.source], reach)


def _program(config: LaunchConfig) -> Program:
    path = config.script or config.recipe.program
    if not path:
        raise ConfigError(
            f"recipe={config.recipe.name} needs a program",
            hint="give `script=PATH`, or set `recipe.program` in the recipe's file",
        )
    return Program(
        path=str(Path(path).expanduser().absolute()),
        args=config.args,
        recipe=config.recipe.name,
    )
