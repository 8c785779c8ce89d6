"""Which supervisor owns a run: the heartbeat that shows it, and the claims that decide it.

Attempt N of a run is generation N of its checkpoints, and a generation is claimed only once.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from launcher import checkpoint
from launcher.errors import NotRequeueable, PreflightError
from launcher.runs import lock
from launcher.runs.command_line import ANYWHERE, CommandLine
from launcher.runs.records import newest_attempt
from launcher.specs import Plan, RunLayout
from launcher.supervise.run_processes import HOST

_BEAT_EVERY_S = 1.0


class Generations(Protocol):
    """What the supervisor needs of the checkpoints."""

    def following(self) -> int:
        """Return the number that the next attempt should claim."""

    def newest(self) -> int:
        """Return the highest number that is claimed."""

    def claim(self, attempt: int, *, info: Mapping[str, Any]) -> bool:
        """Claim `attempt` for good; return False if another supervisor has it."""

    def newest_step(self) -> int | None:
        """Return the step that a start would resume from, None if no checkpoint is usable."""

    def has_commit_of(self, attempt: int) -> bool:
        """Return whether `attempt` committed a checkpoint."""


class CheckpointGenerations:
    """The generations of a run's checkpoint folder."""

    def __init__(self, layout: RunLayout) -> None:
        self._layout = layout
        self._folder = layout.checkpoints

    def following(self) -> int:
        # An attempt whose claim was deleted with the checkpoints must not be overwritten either.
        return max(checkpoint.next_generation(self._folder), newest_attempt(self._layout) + 1)

    def newest(self) -> int:
        return checkpoint.next_generation(self._folder) - 1

    def claim(self, attempt: int, *, info: Mapping[str, Any]) -> bool:
        try:
            checkpoint.claim_generation(self._folder, attempt, info=dict(info))
        except checkpoint.GenerationTaken:
            return False
        return True

    def newest_step(self) -> int | None:
        newest = checkpoint.newest_commit(checkpoint.list_commits(self._folder))
        return newest.step if newest else None

    def has_commit_of(self, attempt: int) -> bool:
        found = checkpoint.list_commits(self._folder)
        return any(commit.generation == attempt for commit in found)


class Ownership:
    """The hold of this supervisor on its run, from entering the context to leaving it.

    A thread writes the heartbeat, because finding nodes may take longer than other supervisors
    wait for one. It stops for good when another supervisor has claimed a newer attempt.
    """

    def __init__(
        self,
        layout: RunLayout,
        claims: Generations,
        commands: CommandLine = ANYWHERE,
        *,
        submits: bool = False,
    ) -> None:
        """Raise `PreflightError` if another supervisor works on the run.

        Unless this process only submits a job that continues the run: then it is `shared`.
        """
        self._layout = layout
        self._claims = claims
        self._status = commands.of_run(layout, "status")
        """The command that shows the run."""
        # Two supervisors that start together do not see each other. Both read this number before
        # they look for a rival and claim it after their first heartbeat: only one of them gets it,
        # and supervisors that start later see the heartbeat.
        self.first_attempt = claims.following()
        self._submits = submits
        self.shared = submits and lock.rival(layout) is not None
        if not submits:
            _refuse_rival(layout, commands)
        self._attempt = 0
        self._superseded = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="launcher-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        if not self.shared:
            lock.beat(self._layout, attempt=0, submits=self._submits)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if not self.shared:
            self._thread.join()
            lock.leave(self._layout)

    @property
    def superseded(self) -> bool:
        """Whether the heartbeat saw an attempt newer than ours: the run is no longer ours."""
        return self._superseded

    def claim_first(self, plan: Plan) -> None:
        """Claim the attempt of the first plan.

        Raises:
            PreflightError: another supervisor has just claimed it.
        """
        if not self._claim(plan):
            raise PreflightError(
                f"run `{self._layout.run_id}`: another supervisor just started "
                f"attempt {plan.attempt}",
                hint=f"watch it with `{self._status}`",
            )

    def claim_next(self, plan: Plan) -> None:
        """Claim the attempt right after our last one.

        Raises:
            NotRequeueable: another supervisor has claimed it.
        """
        if not self._claim(plan):
            raise self._taken_over()

    def require(self, attempt: int) -> None:
        """Check that `attempt`, which is ours, is the newest one.

        Raises:
            NotRequeueable: another supervisor has claimed a newer one.
        """
        if self._superseded or self._claims.newest() > attempt:
            raise self._taken_over()

    def _claim(self, plan: Plan) -> bool:
        self._attempt = plan.attempt
        info = {
            "engine": plan.backend,
            "world_size": plan.cluster.world_size,
            "host": HOST,
            "pid": os.getpid(),
        }
        return self._claims.claim(plan.attempt, info=info)

    def _taken_over(self) -> NotRequeueable:
        return NotRequeueable(
            f"run `{self._layout.run_id}` was taken over: another supervisor started attempt "
            f"{self._claims.newest()}",
            hint="all processes of this supervisor have ended; watch the run with "
            f"`{self._status}`",
        )

    def _run(self) -> None:
        while not self._over.wait(_BEAT_EVERY_S):
            with contextlib.suppress(OSError):  # a full disk must not end the heartbeat
                attempt = self._attempt
                if attempt and self._claims.newest() > attempt and attempt == self._attempt:
                    self._superseded = True
                    return
                if self._submits and lock.rival(self._layout):
                    return  # an earlier job has started meanwhile
                lock.beat(self._layout, attempt=attempt, submits=self._submits)


def _refuse_rival(layout: RunLayout, commands: CommandLine) -> None:
    rival = lock.rival(layout)
    if rival is not None:
        message, hint = lock.refusal(rival, layout, commands)
        raise PreflightError(message, hint=f"{hint}, or use another run_id=")
