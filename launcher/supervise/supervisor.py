"""One run from its first attempt to its end."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from functools import partial

from launcher import transports
from launcher.errors import (
    Interrupted,
    LauncherError,
    PreflightError,
    SavedForRequeue,
    TrainingError,
)
from launcher.failures.causes import FailureKind, FirstFailure
from launcher.failures.root_cause import first_failure
from launcher.files import replace
from launcher.runs import StopRequest, clear_stop, events
from launcher.runs.command_line import ANYWHERE, CommandLine
from launcher.specs import Job, Plan, RunLayout, to_json
from launcher.supervise import result
from launcher.supervise.commands import Commands
from launcher.supervise.config import SuperviseConfig
from launcher.supervise.event_log import EventLog, NoObserver, Observer
from launcher.supervise.ownership import CheckpointGenerations, Generations, Ownership
from launcher.supervise.policy import Decision, Failed, decide
from launcher.supervise.result import RunResult
from launcher.supervise.run_processes import reap
from launcher.supervise.stop_requests import StopRequests
from launcher.supervise.verdict import AttemptResult, Verdict, judge
from launcher.supervise.watch import AttemptWatch


def run(  # noqa: PLR0913 - the public face: every argument but three has a default
    plan_for: Callable[[int], Plan],
    *,
    layout: RunLayout,
    config: SuperviseConfig,
    observer: Observer | None = None,
    spent: Mapping[str, float] | None = None,
    generations: Generations | None = None,
    ownership: Ownership | None = None,
    commands: CommandLine = ANYWHERE,
) -> RunResult:
    """Start attempts until the run is done, stopped, or not worth another attempt.

    `plan_for(attempt)` builds the plan of one attempt. It is called once per attempt, so that each
    gets a new rendezvous. `spent` are the seconds used before (`stage`, `preflight`), for the
    report. `ownership` is the hold on a run that was prepared. Call it from the main thread: it
    handles SIGINT, SIGTERM, SIGUSR1 and SIGHUP. `commands` writes the commands that messages
    suggest.
    It returns for every end that a run can have, and raises only if the run cannot start.

    Raises:
        PreflightError: another supervisor works on this run, or a node's command cannot start.
        NotRequeueable: another supervisor has taken the run over; no process of ours is left.
    """
    generations = generations or CheckpointGenerations(layout)
    layout.attempts.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if ownership is None:
            ownership = Ownership(layout, generations, commands)
            clear_stop(layout)
            stack.enter_context(ownership)
        stop_requests = stack.enter_context(StopRequests(layout))
        supervisor = _Supervisor(
            layout=layout,
            config=config,
            event_log=EventLog(layout, observer or NoObserver()),
            generations=generations,
            ownership=ownership,
            stop_requests=stop_requests,
        )
        plan = plan_for(ownership.first_attempt)
        ownership.claim_first(plan)
        reap(layout)  # what a killed supervisor left on this host
        return supervisor.run(plan, plan_for, dict(spent or {}))


class _Supervisor:
    """The loop over attempts, and what it remembers between them."""

    def __init__(
        self,
        *,
        layout: RunLayout,
        config: SuperviseConfig,
        event_log: EventLog,
        generations: Generations,
        ownership: Ownership,
        stop_requests: StopRequests,
    ) -> None:
        self._layout = layout
        self._config = config
        self._event_log = event_log
        self._generations = generations
        self._ownership = ownership
        self._stop_requests = stop_requests
        self._failed: list[Failed] = []
        self._nodes: tuple[str, ...] = ()
        """Names of the nodes of the previous attempt."""

    def run(
        self, plan: Plan, plan_for: Callable[[int], Plan], spent: dict[str, float]
    ) -> RunResult:
        """Run the attempt of `plan`, which is claimed, and those that must follow."""
        while True:
            self._start_attempt(plan, spent)
            attempt = self._watch(plan)
            # Also checked here: a save that was rejected for it may have ended the attempt first.
            self._ownership.require(plan.attempt)
            failure = first_failure(self._layout, plan.attempt)
            verdict, cause = judge(attempt, plan.cluster.world_size, failure)
            decision = self._decide(verdict, failure, plan)
            request = attempt.stop_request or self._stop_requests.first
            restart = decision.restart and request is None
            self._report_end(plan, attempt, cause, restart=restart, why=decision.why)
            close = partial(self._close, plan, attempt, failure)
            if not restart:
                state = _state(verdict, request, resumable=decision.restart)
                return close(state, _EXIT_CODES.get(state, decision.exit_code))
            result.close_attempt(self._layout)
            following = None
            try:
                with self._stop_requests.interrupting():
                    following = plan_for(plan.attempt + 1)
            except SavedForRequeue as error:
                return close(Verdict.SAVED, error.exit_code, f"{error}")
            except PreflightError as error:
                return close(Verdict.FAILED, TrainingError.exit_code, f"{error}")
            self._stop_requests.check_folder()
            request = self._stop_requests.first
            if following is None or request is not None:
                state = _state(verdict, request, resumable=True)
                return close(state, _EXIT_CODES[state], "stopped while it was restarted")
            plan, spent = following, {}
            self._ownership.claim_next(plan)

    def _start_attempt(self, plan: Plan, spent: dict[str, float]) -> None:
        self._write_plan(plan)
        self._event_log.start_attempt(plan)
        self._event_log.add(
            events.AttemptStarted(
                at=time.time(),
                attempt=plan.attempt,
                nodes=len(plan.cluster.nodes),
                world_size=plan.cluster.world_size,
                backend=plan.backend,
                resumes_step=self._generations.newest_step(),
                spent=spent,
                job=Job.from_environ(os.environ),
            )
        )
        self._report_changed_nodes(plan)

    def _write_plan(self, plan: Plan) -> None:
        folder = self._layout.attempt(plan.attempt)
        for path in (folder.logs, folder.ranks):
            path.mkdir(parents=True, exist_ok=True)
        text = to_json(plan, indent=2)
        replace(folder.plan, text)
        replace(self._layout.plan, text)

    def _report_changed_nodes(self, plan: Plan) -> None:
        now, before = tuple(node.name for node in plan.cluster.nodes), self._nodes
        self._nodes = now
        if before and set(before) != set(now):
            self._event_log.add(
                events.NodesChanged(
                    at=time.time(),
                    nodes=len(now),
                    before=len(before),
                    lost=tuple(name for name in before if name not in now),
                    joined=tuple(name for name in now if name not in before),
                )
            )

    def _watch(self, plan: Plan) -> AttemptResult:
        reach = transports.Reach(
            nodes=plan.cluster.nodes, python=plan.python, lost_after_s=self._config.lost_after_s
        )
        try:
            with contextlib.closing(transports.create(plan.transport, reach)) as transport:
                return AttemptWatch(
                    Commands(plan, transport, self._layout, self._event_log),
                    layout=self._layout,
                    config=self._config,
                    event_log=self._event_log,
                    stop_requests=self._stop_requests,
                    superseded=lambda: self._ownership.superseded,
                ).run()
        except LauncherError as error:
            if self._failed and isinstance(error, PreflightError):
                # The node was there a moment ago: treat it like one lost right after the start.
                self._event_log.add(events.StartFailed(at=time.time(), why=str(error)))
                return AttemptResult(exit_codes={}, seconds=0.0)
            # Nothing runs, so the run folder must not show a running run.
            self._report_run_end(Verdict.FAILED, error.exit_code)
            raise

    def _decide(self, verdict: Verdict, failure: FirstFailure | None, plan: Plan) -> Decision:
        if verdict is not Verdict.FAILED:
            return Decision(restart=False, why=f"the attempt ended as {verdict}")
        kind = failure.kind if failure else FailureKind.EXIT_CODE
        committed = self._generations.has_commit_of(plan.attempt)
        self._failed.append(Failed(kind=kind, new_commit=committed))
        return decide(self._failed, max_restarts=self._config.max_restarts)

    def _report_end(
        self, plan: Plan, attempt: AttemptResult, cause: str, *, restart: bool, why: str
    ) -> None:
        self._event_log.add(
            events.AttemptEnded(
                at=time.time(),
                attempt=plan.attempt,
                cause=cause,
                step=attempt.step,
                committed_step=self._generations.newest_step(),
                seconds=attempt.seconds,
                restarting=restart,
                why=why,
            )
        )

    def _close(
        self,
        plan: Plan,
        attempt: AttemptResult,
        failure: FirstFailure | None,
        state: Verdict,
        code: int,
        why: str = "",
    ) -> RunResult:
        """Write how the run ended and return it; `why` is what prevented another attempt."""
        self._report_run_end(state, code, why)
        run = RunResult(
            run_id=self._layout.run_id,
            state=state,
            exit_code=code,
            attempts=plan.attempt,
            steps=attempt.step,
            committed_step=self._generations.newest_step(),
            result=result.program_result(self._layout, plan.attempt),
            seconds=result.seconds(self._layout),
            first_failure=failure if state is Verdict.FAILED else None,
        )
        result.close_run(self._layout, run)
        return run

    def _report_run_end(self, state: Verdict, code: int, why: str = "") -> None:
        self._event_log.add(
            events.RunEnded(at=time.time(), state=str(state), exit_code=code, why=why)
        )


_EXIT_CODES = {
    Verdict.DONE: 0,
    Verdict.SAVED: SavedForRequeue.exit_code,
    Verdict.STOPPED: Interrupted.exit_code,
}


def _state(verdict: Verdict, request: StopRequest | None, *, resumable: bool) -> Verdict:
    """Return how the run ended, from its last attempt.

    Ranks that saved a checkpoint although nothing asked us to stop were preempted directly.
    """
    if verdict is Verdict.DONE:
        return Verdict.DONE
    if verdict is Verdict.FAILED and not (request is not None and resumable):
        return Verdict.FAILED
    preempted = request is None or request.preempted
    return Verdict.SAVED if preempted else Verdict.STOPPED
