"""One run from its first attempt to its end."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from launcher import transports
from launcher.errors import (
    Interrupted,
    LauncherError,
    NotRequeueable,
    PreflightError,
    SavedForRequeue,
    TrainingError,
)
from launcher.failures.causes import FailureKind
from launcher.failures.root_cause import first_failure
from launcher.files import replace
from launcher.runs import clear_stop, events
from launcher.runs.command_line import ANYWHERE, CommandLine
from launcher.runs.lock import refusal, rival
from launcher.specs import Job, Plan, RunLayout, to_json
from launcher.supervise import result
from launcher.supervise.config import SuperviseConfig
from launcher.supervise.event_log import HOST, Journal, NoObserver, Observer
from launcher.supervise.generations import CheckpointGenerations, Generations, Heartbeat
from launcher.supervise.policy import Decision, Failed, decide
from launcher.supervise.reap import reap
from launcher.supervise.result import Outcome, OutcomeState
from launcher.supervise.stop_requests import Wish, Wishes
from launcher.supervise.verdict import Ending, Verdict, judge, last_step
from launcher.supervise.watch import AttemptEnd, Watch


def run(  # noqa: PLR0913 - the public face: every argument but three has a default
    plan_for: Callable[[int], Plan],
    *,
    layout: RunLayout,
    config: SuperviseConfig,
    observer: Observer | None = None,
    spent: Mapping[str, float] | None = None,
    generations: Generations | None = None,
    commands: CommandLine = ANYWHERE,
) -> Outcome:
    """Start attempts until the run is done, stopped, or not worth another try.

    `plan_for(attempt)` builds the plan of one attempt; it is called once per attempt, so each gets
    a fresh rendezvous. `spent` are seconds that went before (`stage`, `preflight`), for the report.
    Must be called from the main thread: it takes over SIGINT, SIGTERM, SIGUSR1 and SIGHUP.
    Returns for every end that a run can have; raises only for what keeps it from starting.

    Raises:
        PreflightError: another supervisor works on this run, or a node's command cannot start.
        NotRequeueable: another supervisor has taken the run over; nothing of ours is left.
    """
    generations = generations or CheckpointGenerations(layout)
    # Two that start at the same moment both see nobody. The number is read before the look and
    # claimed after the sign of life: so one of them wins it, and everybody later sees the winner.
    first = generations.following()
    _refuse_second_supervisor(layout, commands)
    layout.attempts.mkdir(parents=True, exist_ok=True)
    clear_stop(layout)
    supervisor = _Supervisor(
        plan_for=plan_for,
        layout=layout,
        config=config,
        observer=observer or NoObserver(),
        generations=generations,
        commands=commands,
    )
    with supervisor.heartbeat, Wishes(layout) as wishes:
        plan = supervisor.claim(first)
        reap(layout)  # what an earlier supervisor left when it was killed on this host
        return supervisor.run(plan, wishes, dict(spent or {}))


@dataclass(frozen=True, kw_only=True)
class _Ended:
    """An attempt that ended, and what is needed to close the run after it."""

    plan: Plan
    end: AttemptEnd
    verdict: Verdict
    journal: Journal


class _Supervisor:
    """The loop over attempts, and what it remembers between them."""

    def __init__(
        self,
        *,
        plan_for: Callable[[int], Plan],
        layout: RunLayout,
        config: SuperviseConfig,
        observer: Observer,
        generations: Generations,
        commands: CommandLine,
    ) -> None:
        self._plan_for = plan_for
        self._layout = layout
        self._config = config
        self._observer = observer
        self._generations = generations
        self._commands = commands
        self._failed: list[Failed] = []
        self._nodes: tuple[str, ...] = ()
        """Names of the nodes of the attempt before."""
        self.heartbeat = Heartbeat(layout, generations.newest)

    def run(self, plan: Plan, wishes: Wishes, spent: dict[str, float]) -> Outcome:
        """Run the attempt of `plan`, which is claimed, and those that have to follow."""
        while True:
            ended = self._attempt(plan, wishes, spent)
            if isinstance(ended, Outcome):
                return ended
            try:
                plan, spent = self._next(plan.attempt + 1), {}
            except SavedForRequeue as error:
                return self._close(ended, OutcomeState.SAVED, error.exit_code, why=f"{error}")
            except PreflightError as error:
                why = f"{error}"
                return self._close(ended, OutcomeState.FAILED, TrainingError.exit_code, why=why)

    def _attempt(self, plan: Plan, wishes: Wishes, spent: dict[str, float]) -> Outcome | _Ended:
        """Run one attempt; return the outcome of the run, or how it ended to be started again."""
        journal = Journal(self._layout.attempt(plan.attempt).events, self._observer)
        journal.attempt(plan)
        journal.tell(self._started(plan, spent))
        self._tell_changed_nodes(plan, journal)
        end = self._watch(plan, journal, wishes)
        # Asked once more: a save that was refused for it may have ended the attempt first.
        if end.superseded or self._generations.newest() > plan.attempt:
            raise self._superseded()
        failure = first_failure(self._layout, plan.attempt)
        verdict = judge(end, plan.cluster.world_size, failure)
        decision = self._decide(verdict, plan)
        wish = end.wish or wishes.first
        restart = decision.restart and wish is None
        journal.tell(self._ended(plan, end, verdict, restart=restart, why=decision.why))
        ended = _Ended(plan=plan, end=end, verdict=verdict, journal=journal)
        if restart:
            result.close_attempt(self._layout)
            return ended
        state = _state(verdict.ending, wish, may_go_on=decision.restart)
        code = decision.exit_code if state is OutcomeState.FAILED else _EXIT_CODES[state]
        return self._close(ended, state, code)

    def _tell_changed_nodes(self, plan: Plan, journal: Journal) -> None:
        now, before = tuple(node.name for node in plan.cluster.nodes), self._nodes
        self._nodes = now
        if before and set(before) != set(now):
            journal.tell(
                events.NodesChanged(
                    at=time.time(),
                    nodes=len(now),
                    before=len(before),
                    lost=tuple(name for name in before if name not in now),
                    joined=tuple(name for name in now if name not in before),
                )
            )

    def _watch(self, plan: Plan, journal: Journal, wishes: Wishes) -> AttemptEnd:
        watch = Watch(
            plan,
            layout=self._layout,
            config=self._config,
            journal=journal,
            wishes=wishes,
            superseded=lambda: self.heartbeat.superseded,
        )
        reach = transports.Reach(
            nodes=plan.cluster.nodes, python=plan.python, lost_after_s=self._config.lost_after_s
        )
        try:
            with contextlib.closing(transports.create(plan.transport, reach)) as transport:
                return watch.run(transport)
        except LauncherError as error:  # nothing runs; the folder must not look as if it did
            if self._failed and isinstance(error, PreflightError):
                # A node that was there a moment ago: as if it had been lost a moment later.
                journal.tell(events.StartFailed(at=time.time(), why=str(error)))
                return AttemptEnd(records=(), exit_codes={}, wish=None, seconds=0.0)
            failed = OutcomeState.FAILED
            journal.tell(
                events.RunEnded(at=time.time(), state=str(failed), exit_code=error.exit_code)
            )
            raise

    def _decide(self, verdict: Verdict, plan: Plan) -> Decision:
        if verdict.ending is not Ending.FAILED:
            return Decision(restart=False, why=f"it is {verdict.ending}")
        kind = verdict.failure.kind if verdict.failure else FailureKind.EXIT_CODE
        committed = self._generations.has_commit_of(plan.attempt)
        self._failed.append(Failed(kind=kind, new_commit=committed))
        return decide(self._failed, max_restarts=self._config.max_restarts)

    def _started(self, plan: Plan, spent: dict[str, float]) -> events.AttemptStarted:
        return events.AttemptStarted(
            at=time.time(),
            attempt=plan.attempt,
            nodes=len(plan.cluster.nodes),
            world_size=plan.cluster.world_size,
            backend=plan.backend,
            resumes_step=self._generations.newest_step(),
            spent=spent,
            job=Job.from_environ(os.environ),
        )

    def _ended(
        self, plan: Plan, end: AttemptEnd, verdict: Verdict, *, restart: bool, why: str
    ) -> events.AttemptEnded:
        return events.AttemptEnded(
            at=time.time(),
            attempt=plan.attempt,
            cause=verdict.cause,
            step=last_step(end.records),
            committed_step=self._generations.newest_step(),
            seconds=end.seconds,
            restarting=restart,
            why=why,
        )

    def _close(self, ended: _Ended, state: OutcomeState, code: int, *, why: str = "") -> Outcome:
        """Write down how the run ended; `why` is what kept it from starting again."""
        told = events.RunEnded(at=time.time(), state=str(state), exit_code=code, why=why)
        ended.journal.tell(told)
        plan, end = ended.plan, ended.end
        failed = state is OutcomeState.FAILED
        outcome = Outcome(
            run_id=self._layout.run_id,
            state=state,
            exit_code=code,
            attempts=plan.attempt,
            steps=last_step(end.records),
            committed_step=self._generations.newest_step(),
            result=result.program_result(self._layout, plan.attempt),
            seconds=result.seconds(self._layout),
            first_failure=ended.verdict.failure if failed else None,
        )
        result.close_run(self._layout, outcome)
        return outcome

    def claim(self, attempt: int) -> Plan:
        """Claim `attempt` and write its plan down.

        Raises:
            PreflightError: somebody else has claimed it just now; the run is theirs.
        """
        plan = self._try_to_claim(attempt)
        if plan is None:
            raise PreflightError(
                f"run `{self._layout.run_id}`: somebody else started attempt {attempt} just now",
                hint=f"watch it with `{self._commands.of_run(self._layout, 'status')}`",
            )
        return plan

    def _next(self, attempt: int) -> Plan:
        """Claim the number right behind our last one: if that is gone, so is the run."""
        plan = self._try_to_claim(attempt)
        if plan is None:
            raise self._superseded()
        return plan

    def _superseded(self) -> NotRequeueable:
        newest = self._generations.newest()
        return NotRequeueable(
            f"run `{self._layout.run_id}` was taken over: somebody else started attempt {newest}",
            hint=f"nothing of ours is left running; watch it with "
            f"`{self._commands.of_run(self._layout, 'status')}`",
        )

    def _try_to_claim(self, attempt: int) -> Plan | None:
        plan = self._plan_for(attempt)
        self.heartbeat.works_on(attempt)
        info = {
            "engine": plan.backend,
            "world_size": plan.cluster.world_size,
            "host": HOST,
            "pid": os.getpid(),
        }
        if not self._generations.claim(attempt, info=info):
            return None
        self._write_plan(plan)
        return plan

    def _write_plan(self, plan: Plan) -> None:
        folder = self._layout.attempt(plan.attempt)
        for path in (folder.logs, folder.ranks):
            path.mkdir(parents=True, exist_ok=True)
        text = to_json(plan, indent=2)
        replace(folder.plan, text)
        replace(self._layout.plan, text)


_EXIT_CODES = {
    OutcomeState.DONE: 0,
    OutcomeState.SAVED: SavedForRequeue.exit_code,
    OutcomeState.STOPPED: Interrupted.exit_code,
}


def _state(ending: Ending, wish: Wish | None, *, may_go_on: bool) -> OutcomeState:
    """Return how the run is left. Ranks that saved without our asking were preempted directly."""
    if ending is Ending.DONE:
        return OutcomeState.DONE
    if ending is Ending.FAILED and not (wish is not None and may_go_on):
        return OutcomeState.FAILED
    preempted = wish is None or wish.preempted
    return OutcomeState.SAVED if preempted else OutcomeState.STOPPED


def _refuse_second_supervisor(layout: RunLayout, commands: CommandLine) -> None:
    found = rival(layout)
    if found is not None:
        what, hint = refusal(found, layout, commands)
        raise PreflightError(what, hint=hint)
