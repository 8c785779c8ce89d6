"""Claiming attempts: attempt N of a run is generation N of its checkpoints."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from launcher.runs.lock import beat, leave
from launcher.runs.records import newest_attempt
from launcher.specs import RunLayout


class Generations(Protocol):
    """What the supervisor needs of the checkpoint room."""

    def following(self) -> int:
        """Return the number that the next attempt should claim."""

    def newest(self) -> int:
        """Return the highest number that anybody has claimed."""

    def claim(self, attempt: int, *, info: Mapping[str, Any]) -> bool:
        """Claim `attempt` once and for all; False when somebody else has it."""

    def newest_step(self) -> int | None:
        """Return the step that a start would go on from, None if nothing is committed."""

    def has_commit_of(self, attempt: int) -> bool:
        """Return whether `attempt` committed a checkpoint."""


class CheckpointGenerations:
    """The generations of a run's checkpoint folder."""

    def __init__(self, layout: RunLayout) -> None:
        self._layout = layout

    @property
    def _folder(self) -> Path:
        return self._layout.checkpoints

    def following(self) -> int:
        from launcher.checkpoint import next_generation  # noqa: PLC0415 - keeps start-up light

        # Attempts whose claim got lost with the checkpoints must not be written over either.
        return max(next_generation(self._folder), newest_attempt(self._layout) + 1)

    def newest(self) -> int:
        from launcher.checkpoint import next_generation  # noqa: PLC0415

        return next_generation(self._folder) - 1

    def claim(self, attempt: int, *, info: Mapping[str, Any]) -> bool:
        from launcher.checkpoint import (  # noqa: PLC0415
            GenerationTaken,
            claim_generation,
        )

        try:
            claim_generation(self._folder, attempt, info=dict(info))
        except GenerationTaken:
            return False
        return True

    def newest_step(self) -> int | None:
        from launcher.checkpoint import list_commits, newest_commit  # noqa: PLC0415

        commit = newest_commit(list_commits(self._folder))
        return commit.step if commit else None

    def has_commit_of(self, attempt: int) -> bool:
        from launcher.checkpoint import list_commits  # noqa: PLC0415

        return any(commit.generation == attempt for commit in list_commits(self._folder))


# The supervisor's sign of life, from a thread: looking for nodes may take longer than it lasts.
_INTERVAL_S = 1.0


class Heartbeat:
    """Beats while it is entered, unless somebody who was cut off from us has taken over."""

    def __init__(self, layout: RunLayout, newest: Callable[[], int]) -> None:
        """`newest` returns the number of the newest attempt that anybody has claimed."""
        self._layout = layout
        self._newest = newest
        self._attempt = 0
        self._superseded = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="launcher-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        beat(self._layout, attempt=0)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        leave(self._layout)

    def works_on(self, attempt: int) -> None:
        """Say which attempt is ours from now on; before it is claimed."""
        self._attempt = attempt

    @property
    def superseded(self) -> bool:
        """Whether a newer attempt than ours was seen: the run is no longer ours."""
        return self._superseded

    def _run(self) -> None:
        while not self._over.wait(_INTERVAL_S):
            with contextlib.suppress(OSError):  # a full disk is the ranks' trouble
                attempt = self._attempt
                if attempt and self._newest() > attempt and attempt == self._attempt:
                    self._superseded = True
                    return
                beat(self._layout, attempt=attempt)
