"""A run from its first moment to its first attempt: it is known, and can be stopped."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from launcher.disk import DiskProblem
from launcher.errors import PreflightError
from launcher.interrupts import Interruption, interruptible
from launcher.runs import StopRequest, clear_stop, read_stop
from launcher.runs.command_line import ANYWHERE, CommandLine
from launcher.specs import RunLayout
from launcher.supervise.ownership import CheckpointGenerations, Ownership

_LOOK_EVERY_S = 0.5
_BEFORE = " before training started"


class Preparation:
    """Holds a run until its supervisor takes over, and looks for requests to stop it."""

    def __init__(self, layout: RunLayout, ownership: Ownership, interruption: Interruption) -> None:
        self._layout = layout
        self._ownership = ownership
        self._interruption = interruption
        self._old = read_stop(layout)
        """A request to another supervisor."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="launcher-stop", daemon=True)
        self._thread.start()

    def hand_over(self) -> Ownership:
        """Return what holds the run. From now on, the caller looks for stop requests."""
        self.end()
        self._interruption.check()
        return self._ownership

    @property
    def stop_request(self) -> StopRequest | None:
        """The request in the run folder."""
        request = read_stop(self._layout)
        return None if request == self._old else request

    def end(self) -> None:
        """Stop looking for requests."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            request = self.stop_request
            if request is not None:
                self._interruption.request(f"{request.by} stopped the run{_BEFORE}")
                return


@contextlib.contextmanager
def prepare(
    layout: RunLayout, commands: CommandLine = ANYWHERE, *, submits: bool = False
) -> Iterator[Preparation]:
    """Make a run known to `status` and `stop` while it is prepared; nothing else may start it.

    A signal or a stop request raises `KeyboardInterrupt` inside the context. If the run is new and
    gets no configuration, its folder is removed again. With `submits`, it may be supervised
    meanwhile: an earlier job of it runs.

    Raises:
        PreflightError: another supervisor works on the run, or its folder cannot be written.
        Interrupted: `stop` was called.
        SavedForRequeue: this process was preempted.
    """
    with interruptible(_BEFORE) as interruption, _folder(layout):
        ownership = Ownership(layout, CheckpointGenerations(layout), commands, submits=submits)
        if not ownership.shared:
            clear_stop(layout)
        with ownership:
            preparation = Preparation(layout, ownership, interruption)
            try:
                yield preparation
            finally:
                preparation.end()


@contextlib.contextmanager
def _folder(layout: RunLayout) -> Iterator[None]:
    """Create the run folder; remove what was created if the body fails before the run begins."""
    new = [path for path in (layout.path, *layout.path.parents) if not path.exists()]
    try:
        layout.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove(new)
        problem = DiskProblem.of(error, layout.path)
        raise PreflightError(problem.message, hint=problem.hint) from error
    try:
        yield
    except BaseException:
        if layout.path in new and not layout.config.exists():
            shutil.rmtree(layout.path, ignore_errors=True)
            _remove(new)
        raise


def _remove(folders: Iterable[Path]) -> None:
    """Remove the folders that are empty, the innermost first."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
