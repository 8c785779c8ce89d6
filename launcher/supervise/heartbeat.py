"""The supervisor's sign of life, from a thread: looking for nodes may take longer than it lasts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from launcher.runs.supervisor import beat, leave
from launcher.specs import RunLayout

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
