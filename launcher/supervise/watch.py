"""One attempt, from its first process to its last."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from launcher.failures.collect import in_one_line
from launcher.runs import events
from launcher.runs.logs import Tail
from launcher.runs.records import read_ranks
from launcher.specs import Plan, RankRecord, RankState, RunLayout
from launcher.supervise.config import SuperviseConfig
from launcher.supervise.event_log import Journal
from launcher.supervise.hang import HangDetector, Suspect
from launcher.supervise.nodes import Nodes
from launcher.supervise.reap import reap
from launcher.supervise.stop_requests import Wish, Wishes
from launcher.supervise.stopping import Stage, Stopping
from launcher.transports import Process, Transport

_POLL_S = 0.1
"""Between two looks at the processes."""
_LOOK_S = 0.5
"""Between two looks at the ranks' records."""
_FOLDER_S = 1.0
"""Between two looks for `stop.json`, and two heartbeats of ours."""
_WAIT_S = 5.0
"""For the end of a process that was killed; longer only if it hangs in the kernel."""
_DUMP_S = 1.5
"""How long ranks get to write their stacks."""


@dataclass(frozen=True, kw_only=True)
class AttemptEnd:
    """What was left when no process was alive any more."""

    records: tuple[RankRecord, ...]
    exit_codes: dict[int, int]
    """Node rank -> exit code of its command."""
    wish: Wish | None
    seconds: float
    superseded: bool = False
    """True when a newer attempt of another supervisor ended it: the run is no longer ours."""


class Watch:
    """Starts the commands of a plan and watches them until none is left."""

    def __init__(
        self,
        plan: Plan,
        *,
        layout: RunLayout,
        config: SuperviseConfig,
        journal: Journal,
        wishes: Wishes,
        superseded: Callable[[], bool],
    ) -> None:
        self._plan = plan
        self._layout = layout
        self._journal = journal
        self._wishes = wishes
        self._ask_superseded = superseded
        self._superseded = False
        self._attempt = layout.attempt(plan.attempt)
        self._names = {node.node_rank: node.name for node in plan.cluster.nodes}
        self._nodes: Nodes | None = None
        self._processes: dict[int, Process] = {}
        self._exit_codes: dict[int, int] = {}
        self._records: list[RankRecord] = []
        self._failed: set[int] = set()
        self._lost = False
        self._joined = False
        self._committed: int | None = None
        self._hangs = HangDetector(config.hang_timeout_s)
        self._warned_of_hang = False
        self._stopping = Stopping(
            grace_s=config.grace_s,
            journal=journal,
            running=self._running,
            reap=self._reap,
        )
        self._output = Tail(self._attempt.rank_log(_node_of_rank_0(plan), 0))
        self._next: dict[str, float] = {}

    def run(self, transport: Transport) -> AttemptEnd:
        """Start everything, return when everything has ended. Never leaves a process behind.

        Raises:
            PreflightError: a command could not be started; what was started has ended again.
        """
        started = time.monotonic()
        nodes = self._nodes = Nodes(transport, self._plan, self._layout)
        try:
            nodes.end_leftovers()
            self._start(transport)
            while not self._tick():
                time.sleep(_POLL_S)
        finally:
            self._end_all()
        self._look_at_ranks()
        self._tail(final=True)
        return AttemptEnd(
            records=tuple(self._records),
            exit_codes=dict(self._exit_codes),
            wish=self._stopping.wish,
            seconds=time.monotonic() - started,
            superseded=self._superseded,
        )

    def _start(self, transport: Transport) -> None:
        commands = self._plan.commands
        logs = {each.node_rank: self._attempt.node_log(each.node_rank) for each in commands}
        self._processes = transport.start(commands, logs=logs)
        for node_rank, process in self._processes.items():
            self._journal.tell(
                events.NodeStarted(
                    at=time.time(),
                    node_rank=node_rank,
                    node=self._names[node_rank],
                    pid=process.pid,
                )
            )

    def _end_all(self) -> None:
        for process in self._processes.values():
            process.kill()  # also what ranks left behind in their agent's group
            process.wait(_WAIT_S)
        self._reap()

    def _reap(self) -> None:
        if not self._superseded:  # else what is found here may belong to the newer attempt
            reap(self._layout)

    def _tick(self) -> bool:
        """Look at everything that is due, act on it, and say whether all processes have ended."""
        self._look_at_processes()
        if self._due("folder", _FOLDER_S):
            self._wishes.look()
            self._leave_if_superseded()
        if self._due("ranks", _LOOK_S):
            self._look_at_ranks()
            self._look_for_hangs()
        self._tail()
        self._stopping.step(self._wishes)
        return len(self._exit_codes) == len(self._processes)

    def _leave_if_superseded(self) -> None:
        """End everything once somebody who was cut off from us has taken over."""
        if self._ask_superseded():
            self._superseded = True
            self._stopping.kill("a newer attempt of this run has taken over")

    def _due(self, what: str, interval_s: float) -> bool:
        now = time.monotonic()
        if now < self._next.get(what, 0.0):
            return False
        self._next[what] = now + interval_s
        return True

    # --- what happens

    def _look_at_processes(self) -> None:
        for node_rank, process in self._processes.items():
            code = process.poll()
            if code is None or node_rank in self._exit_codes:
                continue
            self._exit_codes[node_rank] = code
            # A connection that breaks off while we end what is left says nothing of its node.
            if process.lost and not (self._lost and self._stopping.stage is Stage.KILLED):
                self._lost = True
                self._note_loss(node_rank, process.lost)
            else:
                self._note_exit(node_rank, code)

    def _note_loss(self, node_rank: int, why: str) -> None:
        self._stopping.note_loss()
        name = self._names[node_rank]
        self._journal.tell(events.NodeLost(at=time.time(), node_rank=node_rank, node=name, why=why))

    def _note_exit(self, node_rank: int, code: int) -> None:
        if code != 0:
            self._stopping.note_failure()
        name = self._names[node_rank]
        self._journal.tell(
            events.NodeExited(at=time.time(), node_rank=node_rank, node=name, exit_code=code)
        )

    def _look_at_ranks(self) -> None:
        self._records = read_ranks(self._layout, self._plan.attempt)
        if not self._joined and len(self._records) == self._plan.cluster.world_size:
            self._joined = True
            self._journal.tell(events.RanksJoined(at=time.time(), ranks=len(self._records)))
        for record in self._records:
            self._note_failure(record)
        self._note_commit()
        self._journal.ranks(self._records)

    def _note_failure(self, record: RankRecord) -> None:
        if record.rank in self._failed or not has_failed(record):
            return
        if self._stopping.stage is not Stage.RUNNING and record.exception is None:
            return  # it was asked to leave, and left
        self._failed.add(record.rank)
        self._stopping.note_failure()
        self._journal.tell(
            events.RankFailed(
                at=time.time(), rank=record.rank, node=record.node, what=_in_short(record)
            )
        )

    def _note_commit(self) -> None:
        steps = [record.committed_step for record in self._records if record.committed_step]
        newest = max(steps, default=None)
        if newest is not None and newest != self._committed:
            self._committed = newest
            self._journal.tell(events.Committed(at=time.time(), step=newest))

    def _tail(self, *, final: bool = False) -> None:
        for line in self._output.lines(final=final):
            self._journal.output(line)

    # --- hangs

    def _look_for_hangs(self) -> None:
        if self._stopping.stage is not Stage.RUNNING or self._failed:
            return
        suspect = self._hangs.look(self._records, time.time())
        if suspect is None or (not suspect.proven and self._warned_of_hang):
            return
        self._warned_of_hang = True
        self._dump_stacks()
        time.sleep(_DUMP_S)
        # A machine that is short of everything may be late rather than stuck: ask once more, since
        # a stop that was not needed costs more than one that comes a little later.
        stopping = suspect.proven and self._still_silent(suspect)
        self._tell_hang(suspect, stopping=stopping)
        if stopping:
            self._stopping.kill("a rank hangs")

    def _still_silent(self, suspect: Suspect) -> bool:
        self._look_at_ranks()
        now = {record.rank: record for record in self._records}.get(suspect.record.rank)
        return not self._failed and now is not None and not _progressed(suspect.record, now)

    def _tell_hang(self, suspect: Suspect, *, stopping: bool) -> None:
        record = suspect.record
        self._journal.tell(
            events.HangSuspected(
                at=time.time(),
                rank=record.rank,
                node=record.node,
                phase=record.phase,
                step=record.step,
                silent_s=suspect.silent_s,
                limit_s=suspect.limit_s,
                stopping=stopping,
            )
        )

    def _dump_stacks(self) -> None:
        if self._nodes is not None:
            self._nodes.dump_stacks(self._records)

    def _running(self) -> Sequence[Process]:
        return [
            process
            for node_rank, process in self._processes.items()
            if node_rank not in self._exit_codes
        ]


def has_failed(record: RankRecord) -> bool:
    """Return whether the record tells of a failure, also while the rank is still on its way out."""
    return record.state is RankState.FAILED or record.exception is not None


def _progressed(before: RankRecord, now: RankRecord) -> bool:
    return now.progress_at > before.progress_at or now.state is not before.state


def _in_short(record: RankRecord) -> str:
    if record.exception is not None:
        return in_one_line(record.exception.kind, record.exception.message)
    if record.signal is not None:
        return f"ended by {signal.Signals(record.signal).name}"
    return f"exit code {record.exit_code}"


def _node_of_rank_0(plan: Plan) -> int:
    places = plan.cluster.places()
    return places[0].node.node_rank if places else 0
