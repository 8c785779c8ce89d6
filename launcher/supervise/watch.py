"""One attempt, from its first process to its last."""

from __future__ import annotations

import time
from collections.abc import Callable

from launcher.runs import events
from launcher.runs.logs import Tail
from launcher.specs import Plan, RankRecord, RunLayout
from launcher.supervise.commands import CommandEnded, Commands
from launcher.supervise.config import SuperviseConfig
from launcher.supervise.event_log import EventLog
from launcher.supervise.hang import HangDetector, Suspect
from launcher.supervise.ranks import Ranks
from launcher.supervise.stop_requests import StopRequests
from launcher.supervise.stopping import Stage, Stopping
from launcher.supervise.verdict import AttemptResult

_POLL_S = 0.2
_READS = 8
"""Of the output in one look, 1 MiB each: fast output is shown, and stop requests are still seen."""
"""Between two looks at the processes."""
_RANKS_S = 0.5
"""Between two reads of the ranks' records."""
_FOLDER_S = 1.0
"""Between two looks for a stop request in the run folder, or for a newer attempt."""
_DUMP_S = 1.5
"""What ranks get to write their stacks."""
_MOST_BEHIND = 32 << 20
"""Bytes of output that are not shown yet. A program that prints even faster is shown in parts."""


class AttemptWatch:
    """Starts the commands of an attempt and watches them until all have ended."""

    def __init__(
        self,
        commands: Commands,
        *,
        layout: RunLayout,
        config: SuperviseConfig,
        event_log: EventLog,
        stop_requests: StopRequests,
        superseded: Callable[[], bool],
    ) -> None:
        """`superseded` returns whether another supervisor has taken the run over."""
        plan = commands.plan
        self._commands = commands
        self._event_log = event_log
        self._stop_requests = stop_requests
        self._ask_superseded = superseded
        self._ranks = Ranks(plan, layout, event_log)
        self._hangs = HangDetector(config.hang_timeout_s)
        self._warned_of_hang = False
        self._lost_a_node = False
        self._stopping = Stopping(grace_s=config.grace_s, event_log=event_log, commands=commands)
        self._output = Tail(
            layout.attempt(plan.attempt).rank_log(_node_of_rank_0(plan), 0),
            most_behind=_MOST_BEHIND,
        )
        self._next: dict[str, float] = {}

    def run(self) -> AttemptResult:
        """Start everything and return when everything has ended. Never leaves a process behind.

        Raises:
            PreflightError: a command could not be started; what was started has ended again.
        """
        started = time.monotonic()
        try:
            self._commands.start()
            while not self._tick():
                time.sleep(_POLL_S)
        finally:
            self._commands.end()
        self._read_ranks()
        for lines in self._output.to_end():
            self._event_log.output("\n".join(lines))
        return AttemptResult(
            records=tuple(self._ranks.records),
            exit_codes=dict(self._commands.exit_codes),
            stop_request=self._stopping.request,
            seconds=time.monotonic() - started,
        )

    def _tick(self) -> bool:
        """Look at everything that is due, act on it, and return whether all commands have ended."""
        for ended in self._commands.poll():
            self._note_end(ended)
        if self._due("folder", _FOLDER_S):
            self._stop_requests.check_folder()
            self._end_if_superseded()
        if self._due("ranks", _RANKS_S):
            self._read_ranks()
            self._look_for_hangs()
        for _ in range(_READS):
            if not (lines := self._output.lines()):
                break
            self._event_log.output("\n".join(lines))
        self._stopping.step(self._stop_requests)
        return self._commands.have_ended

    def _due(self, what: str, interval_s: float) -> bool:
        now = time.monotonic()
        if now < self._next.get(what, 0.0):
            return False
        self._next[what] = now + interval_s
        return True

    def _end_if_superseded(self) -> None:
        if self._ask_superseded():
            self._commands.superseded = True
            self._stopping.kill("a newer attempt of this run has taken over")

    def _note_end(self, ended: CommandEnded) -> None:
        node_rank, node = ended.node_rank, ended.node
        # A connection that breaks while we kill the rest does not mean that its node is lost.
        killed_after_loss = self._lost_a_node and self._stopping.stage is Stage.KILLED
        if ended.lost and not killed_after_loss:
            self._lost_a_node = True
            self._stopping.note_loss()
            self._event_log.add(
                events.NodeLost(at=time.time(), node_rank=node_rank, node=node, why=ended.lost)
            )
            return
        if ended.code != 0:
            self._stopping.note_failure()
        self._event_log.add(
            events.NodeExited(at=time.time(), node_rank=node_rank, node=node, exit_code=ended.code)
        )

    def _read_ranks(self) -> None:
        if self._ranks.read(stopping=self._stopping.stage is not Stage.RUNNING):
            self._stopping.note_failure()

    # --- hangs

    def _look_for_hangs(self) -> None:
        if self._stopping.stage is not Stage.RUNNING or self._ranks.failed:
            return
        suspect = self._hangs.look(self._ranks.records, time.time())
        if suspect is None or (not suspect.proven and self._warned_of_hang):
            return
        self._warned_of_hang = True
        self._commands.dump_stacks(self._ranks.records)
        time.sleep(_DUMP_S)
        # An overloaded machine may be slow rather than hung. Look once more: an unnecessary stop
        # costs more than one that comes a little later.
        stopping = suspect.proven and self._still_silent(suspect)
        self._report_hang(suspect, stopping=stopping)
        if stopping:
            self._stopping.kill("a rank hangs")

    def _still_silent(self, suspect: Suspect) -> bool:
        self._read_ranks()
        now = {record.rank: record for record in self._ranks.records}.get(suspect.record.rank)
        return not self._ranks.failed and now is not None and not _progressed(suspect.record, now)

    def _report_hang(self, suspect: Suspect, *, stopping: bool) -> None:
        record = suspect.record
        self._event_log.add(
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


def _progressed(before: RankRecord, now: RankRecord) -> bool:
    return now.progress_at > before.progress_at or now.state is not before.state


def _node_of_rank_0(plan: Plan) -> int:
    places = plan.cluster.places()
    return places[0].node.node_rank if places else 0
