"""One launch: a configuration with its run folder, its batch job, its code and its nodes."""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from launcher import code_snapshot, preflight, search_paths, slurm, staging, supervise
from launcher import plan as planning
from launcher.checkpoint import next_generation
from launcher.config import CodeChoice, LaunchConfig, compare, dump
from launcher.errors import ConfigError, PreflightError, SavedForRequeue
from launcher.files import replace as replace_file
from launcher.nodes import INTERFACE_VARIABLES, SOURCES, ChosenNodes, NodeNeeds, find
from launcher.programs import FoundModule, find_module, import_path
from launcher.runs import environment
from launcher.runs.command_line import ANYWHERE, CommandLine
from launcher.specs import CheckpointPolicy, Cluster, Job, Plan, Program, RunLayout, StagedItem

PORT_TRIES = 50
"""Derived ports of an attempt; if all are busy, the last one is used and its error is shown."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What the steps share."""

    config: LaunchConfig
    layout: RunLayout
    job: Job | None
    """The batch job that contains this process."""
    program: Program
    """The program in its own place."""
    code: code_snapshot.RunCode | None
    """None runs the program in place."""
    commands: CommandLine
    nodes: Mapping[int, ChosenNodes] = field(default_factory=dict)
    """Attempt -> its nodes, of the first one; later attempts choose again."""

    @classmethod
    def of(cls, config: LaunchConfig, commands: CommandLine = ANYWHERE) -> Launch:
        root = Path(config.storage.root)
        job = own_job(config)
        run_id = slurm.run_id_of(job, config.run_id, config.recipe.name) if job else config.run_id
        config = replace(config, run_id=run_id or new_run_id(config.recipe.name))
        layout = RunLayout.of(root, config.run_id)
        if job:
            config = replace(config, resume=slurm.resume_of(layout, job, config.resume))
        found = _found(config)
        return cls(
            config=config,
            layout=layout,
            job=job,
            program=_program(config, found),
            code=_code(config, found, layout, root),
            commands=commands,
        )

    def require_program(self) -> None:
        """Refuse a program that Python cannot run, unless the run uses it where it lies.

        Raises:
            PreflightError: the hint says what to type instead.
        """
        if self.config.code is not CodeChoice.shared:
            preflight.require_program(
                self.copied_program,
                original=self.program.path,
                env=self.config.env,
                python=self.config.cluster.interpreter,
            )

    def freeze(self) -> Launch:
        """Take the code snapshot, before anything slow happens during which the user may edit."""
        return replace(self, code=self.code.freeze() if self.code else None)

    def finished(self) -> supervise.RunResult | None:
        """Return the result of a run that is done; None if it is made longer or started over.

        Raises:
            ConfigError: it was started with other values.
        """
        if compare.longer(self._require_same_run()):
            return None
        done = supervise.finished(self.layout)
        return done if self.config.resume in ("auto", "required") else None

    def _require_same_run(self) -> tuple[compare.Difference, ...]:
        return compare.require_same_run(self.layout.config, self.config, self.commands)

    def submission(self) -> slurm.Submission:
        """Return the batch job that runs the present configuration."""
        config = self.config
        options = config.cluster.slurm
        early = slurm.early_warning(self.layout, options, grace_s=config.supervise.grace_s)
        patient = replace(config.supervise, grace_s=early.grace_s)
        return slurm.prepare(
            self.layout,
            options=options,
            nodes=config.nodes_request.nodes or 1,
            signal_s=early.signal_s,
            python=config.cluster.interpreter,
            config=dump(replace(config, supervise=patient)),
        )

    def start_again(self) -> slurm.Requeue | None:
        """Ask Slurm to start our job again; None outside of a job or without `requeue`."""
        if self.job is None or not self.config.cluster.slurm.requeue:
            return None
        # Slurm ends the job to start it again. Everything is saved; we still print the result.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return slurm.requeue(self.job, self.layout)

    @property
    def copied_program(self) -> Program:
        """The program that the ranks run: the one in the code snapshot, if it has one."""
        if self.code is None or not self.code.snapshot.program:
            return self.program
        return replace(self.program, path=str(self.code.program))

    def with_nodes(self, attempt: int) -> Launch:
        """Find the nodes of the next attempt, and test whether they can write in the storage."""
        at_least = None if attempt == 1 else self.config.cluster.min_nodes
        nodes = find(node_needs(self.config, attempt, write=True), at_least=at_least)
        return replace(self, nodes={attempt: nodes})

    def next_plan(self) -> Plan:
        attempt = next_generation(self.layout.checkpoints)
        nodes = self.nodes.get(attempt) or find(node_needs(self.config, attempt))
        return self._plan(attempt, nodes)

    def plan_for(self, attempt: int) -> Plan:
        """Build the plan of an attempt of a run that was started, for the nodes that are left.

        Raises:
            SavedForRequeue: they are too few, and the next start of our batch job brings others.
        """
        try:
            nodes = self.nodes.get(attempt) or find(
                node_needs(self.config, attempt), at_least=self.config.cluster.min_nodes
            )
        except PreflightError as error:
            if self.job is None:
                raise
            raise SavedForRequeue(error.message, context=error.context, hint=error.hint) from error
        return self._plan(attempt, nodes)

    def _plan(self, attempt: int, nodes: ChosenNodes) -> Plan:
        """Build a plan with a free port for the rendezvous, unless the user pinned one."""
        request = self._request(attempt, nodes.cluster)
        for port_try in range(PORT_TRIES):
            plan = planning.build(replace(request, port_try=port_try))
            rendezvous = plan.rendezvous
            if rendezvous.pinned or nodes.is_free(rendezvous.address, rendezvous.port):
                break
        return plan

    def _request(self, attempt: int, cluster: Cluster) -> planning.PlanRequest:
        config, code, program = self.config, self.code, self.copied_program
        return planning.PlanRequest(
            run_id=config.run_id,
            attempt=attempt,
            storage_root=config.storage.root,
            cluster=cluster,
            backend=config.backend.name,
            program=program,
            python=config.cluster.interpreter,
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
            env=self._env(program),
            exported=dict(os.environ),
            code=code.snapshot if code else None,
            notes=(*(code.notes if code else ()), *self._longer()),
        )

    def _env(self, program: Program) -> dict[str, str]:
        """Return the variables that the configuration sets for the ranks.

        Its relative search paths mean the folder of the run's first start, from wherever the run is
        resumed; those of the environment mean the current folder.
        """
        env, here, code = self.config.env, Path.cwd(), self.code
        first = Path(code.snapshot.cwd) if code else here
        env = {**env, **search_paths.absolute(env, first, expand_home=True)}
        if code is None:
            return env
        inherited = search_paths.absolute(os.environ, here).get("PYTHONPATH", "")
        return code.variables(env, inherited, is_module=bool(program.module))

    def _longer(self) -> tuple[str, ...]:
        """Return the note on a run that continues beyond its earlier end."""
        if self.config.resume == "never":
            return ()
        longer = compare.longer(self._require_same_run())
        if not longer:
            return ()
        note = (
            f"the run is made longer: {longer}. A learning rate that decays until the end of "
            "training follows the longer schedule from now on"
        )
        return (note,)

    def write_run_folder(self, staged: dict[str, StagedItem]) -> None:
        """Write what the ranks and the verbs need, before the first rank starts."""
        self.layout.path.mkdir(parents=True, exist_ok=True)
        config = self.config
        if config.code is CodeChoice.new:  # later starts keep this snapshot
            config = replace(config, code=CodeChoice.frozen)
        replace_file(self.layout.config, dump(config))
        folders = {name: item.path for name, item in staged.items()}
        replace_file(self.layout.staged, json.dumps(folders, indent=2))
        if self.job:
            slurm.note_own(self.layout, self.job)
        if self.code:
            self.code.record()
        environment.write(
            self.layout,
            code=self.code.snapshot if self.code else None,
            nodes=next((each.environment() for each in self.nodes.values()), None),
        )


def node_needs(config: LaunchConfig, attempt: int, *, write: bool = False) -> NodeNeeds:
    """Return what the run needs of its nodes; `attempt` decides the ports for the rendezvous."""
    return NodeNeeds(
        request=config.nodes_request,
        root=Path(config.storage.root),
        ports=tuple(planning.port(config.run_id, attempt, each) for each in range(PORT_TRIES)),
        backend=config.backend.name,
        preflight=config.preflight,
        brings_launcher=config.code is not CodeChoice.shared,
        write=write,
        interfaces={
            name: value
            for name, value in {**os.environ, **config.env}.items()
            if name in INTERFACE_VARIABLES and value
        },
    )


def new_run_id(recipe: str) -> str:
    """Return a unique name for a run that sorts by time."""
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    return f"{recipe}-{stamp}-{secrets.token_hex(2)}"


def own_job(config: LaunchConfig) -> Job | None:
    """Return the batch job that contains this process, if the source has batch jobs."""
    return Job.from_environ(os.environ) if SOURCES[config.cluster.name].batch else None


def _code(
    config: LaunchConfig, found: Path | FoundModule | None, layout: RunLayout, root: Path
) -> code_snapshot.RunCode | None:
    if config.code is CodeChoice.shared:
        return None
    return code_snapshot.RunCode.of(
        found,
        layout=layout,
        storage_root=root,
        cwd=Path.cwd(),
        anew=config.code is CodeChoice.new or config.resume == "never",
    )


def _found(config: LaunchConfig) -> Path | FoundModule | None:
    """Return where the program is; None for a missing module, which preflight reports."""
    if config.module:
        path = import_path(Path.cwd(), config.env)
        try:
            return find_module(config.module, path, python=config.cluster.interpreter)
        except PreflightError:
            return None
    path_of_file = config.script or config.recipe.program
    if not path_of_file:
        raise ConfigError(
            f"recipe={config.recipe.name} needs a program",
            hint="give `script=PATH`, or set `recipe.program` in the recipe's file",
        )
    return Path(path_of_file).expanduser().absolute()


def _program(config: LaunchConfig, found: Path | FoundModule | None) -> Program:
    file = found.file if isinstance(found, FoundModule) else found
    return Program(
        path=str(file or ""), module=config.module, args=config.args, recipe=config.recipe.name
    )
