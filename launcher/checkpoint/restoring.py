"""Restoring together.

One rank chooses, every rank reads and checks, all go on from the same commit or none does.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from launcher.checkpoint import optimizers, plain, rng
from launcher.checkpoint.blocks import DamagedError
from launcher.checkpoint.commits import candidates
from launcher.checkpoint.files import Files
from launcher.checkpoint.group import Group, logical_shards
from launcher.checkpoint.layout import CheckpointLayout, CommitKey, TensorEntry
from launcher.checkpoint.loading import load_into, make_room
from launcher.checkpoint.sampler import DataCursor
from launcher.checkpoint.state import (
    EXTRA,
    MODEL,
    TrainingState,
    model_tensors,
    parameter_names,
    signature,
    specs,
)
from launcher.checkpoint.verification import Opened, finding, open_commit
from launcher.errors import CheckpointError, LauncherError

logger = logging.getLogger(__name__)

_STALE = frozenset({errno.ENOENT, errno.ESTALE})
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Restored:
    """From where the program goes on."""

    step: int
    cursor: DataCursor
    generation: int
    exact: bool
    """True when the random states were put back too, which needs the same world size."""
    note: str = ""
    """What a person should know about it; empty when there is nothing."""


@dataclass(frozen=True)
class _Choice0:
    """What the choosing rank tells the others.

    A commit, an error that ends it for all, or neither: start at step 0.
    """

    key: CommitKey | None = None
    error: LauncherError | None = None


@dataclass(frozen=True, kw_only=True)
class Restorer:
    """One restore. Every rank of the group makes one and calls `run`."""

    files: Files
    layout: CheckpointLayout
    group: Group
    visible_s: float = 65.0
    """How long a file that another node has written may take to appear here; network file systems
    cache misses up to a minute."""
    sleep: Callable[[float], None] = time.sleep

    def run(self, state: TrainingState, resume: str) -> tuple[Restored, CommitKey] | None:
        """Fill `state` from the commit that `resume` asks for; None when the run starts at step 0.

        Raises:
            CheckpointError: nothing fits or nothing can be read, on any rank; all ranks raise.
        """
        choice = _Choice(self.files, self.layout, resume) if self.group.rank == 0 else None
        notes: list[str] = []
        while True:
            told = self._tell(choice)
            if told.error is not None:
                raise told.error
            if told.key is None:
                return None
            problem, restored = self._attempt(state, told.key)
            outcomes = self.group.all_gather_object(problem)
            if all(outcome is None for outcome in outcomes) and restored is not None:
                return restored(notes), told.key
            self._agree_on_damage(outcomes)
            if choice is not None:
                choice.failures += sorted({str(item) for item in outcomes if item is not None})
            notes.append(f"step {told.key.step} is damaged")

    def _tell(self, choice: _Choice | None) -> _Choice0:
        mine = choice.next() if choice is not None else None
        told: _Choice0 = self.group.all_gather_object(mine)[0]
        return told

    def _attempt(
        self, state: TrainingState, key: CommitKey
    ) -> tuple[object, Callable[[list[str]], Restored] | None]:
        """Return (None, a function that finishes the restore), or (what is wrong, None)."""
        try:
            opened = self._open(key)
            return None, _fill(self.files, opened, state, self.group)
        except DamagedError as error:
            return str(finding(key, error)), None
        except OSError as error:
            return f"step {key.step}: {error}", None
        except LauncherError as error:
            return error, None

    def _open(self, key: CommitKey) -> Opened:
        """Open by exact path, patiently: rank 0 has seen the files, this node may not yet."""
        waited, pause = 0.0, 0.05
        while True:
            try:
                return open_commit(self.files, self.layout, key)
            except DamagedError as error:
                cause = error.__cause__
                stale = isinstance(cause, OSError) and cause.errno in _STALE
                if not stale or self.group.rank == 0 or waited >= self.visible_s:
                    raise
            self.sleep(pause)
            waited += pause
            pause = min(2 * pause, 2.0)

    def _agree_on_damage(self, outcomes: list[object]) -> None:
        """Go on to the commit before on damage, but end on what is wrong with the program."""
        for outcome in outcomes:
            if isinstance(outcome, LauncherError):
                raise outcome
        for rank, outcome in enumerate(outcomes):
            if outcome is not None and self.group.rank == 0:
                logger.warning("rank %d cannot read a checkpoint: %s", rank, outcome)


class _Choice:
    """Walks the candidates, skipping those whose records or sizes are wrong."""

    def __init__(self, files: Files, layout: CheckpointLayout, resume: str) -> None:
        self._files = files
        self._layout = layout
        self._resume = resume
        self._left: list[CommitKey] | None = None
        self.failures: list[str] = []

    def next(self) -> _Choice0:
        try:
            return _Choice0(key=self._next_key())
        except LauncherError as error:
            return _Choice0(error=error)
        except OSError as error:
            hint = "look at the storage, then start the run again"
            return _Choice0(
                error=CheckpointError(f"the checkpoints cannot be listed: {error}", hint=hint)
            )

    def _next_key(self) -> CommitKey | None:
        if self._left is None:
            found = candidates(self._files, self._layout, self._resume)
            self._left = [info.key for info in found]
            if not self._left:
                return None
        while self._left:
            key = self._left.pop(0)
            try:
                open_commit(self._files, self._layout, key)
            except DamagedError as error:
                problem = str(finding(key, error))
                logger.warning("skipping a damaged checkpoint: %s", problem)
                self.failures.append(problem)
            else:
                return key
        raise CheckpointError(
            "checkpoints exist, but none can be read",
            context="\n".join(self.failures),
            hint="see `checkpoints verify`; bring the files back, or start over with resume=never",
        )


def _fill(
    files: Files, opened: Opened, state: TrainingState, group: Group
) -> Callable[[list[str]], Restored]:
    """Read everything; return what puts it into effect once every rank has got this far."""
    logical = opened.record.logical
    model, aliases = model_tensors(state.model)
    _check_shards(opened, group)
    _check_model(opened, {f"{MODEL}{name}": item for name, item in model.items()}, aliases)
    _check_parts(opened, state)
    names = parameter_names(state.model)
    existing: dict[str, Any] = {f"{EXTRA}{name}": item for name, item in state.extra.items()}
    if state.optimizer is not None:
        optimizers.check(state.optimizer, names, logical["optimizer"])
        existing |= optimizers.tensors(state.optimizer, names)
    mine = f"rng/{group.rank:03d}/"
    same_world = opened.record.world_size == group.world_size
    prefixes = [EXTRA, *([optimizers.PREFIX] if state.optimizer is not None else [])]
    prefixes += [mine] if same_world else []
    loaded = make_room(opened, lambda name: name.startswith(tuple(prefixes)), existing)
    load_into(files, opened, {**loaded, **{f"{MODEL}{name}": item for name, item in model.items()}})

    def finish(notes: list[str]) -> Restored:
        if state.optimizer is not None:
            found = {
                name: item for name, item in loaded.items() if name.startswith(optimizers.PREFIX)
            }
            optimizers.reinstate(state.optimizer, names, logical["optimizer"], found)
        for name, item in loaded.items():
            if name.startswith(EXTRA):
                state.extra[name.removeprefix(EXTRA)] = item
        _finish_logical(state, logical)
        states = {
            name.removeprefix(mine): item for name, item in loaded.items() if name.startswith(mine)
        }
        exact, note = _finish_rng(state, opened, states, group)
        return Restored(
            step=state.step,
            cursor=state.cursor,
            generation=opened.record.generation,
            exact=exact,
            note="; ".join([*notes, *([note] if note else [])]),
        )

    return finish


def _finish_logical(state: TrainingState, logical: dict[str, Any]) -> None:
    state.step = logical["step"]
    state.cursor = DataCursor(**logical["cursor"])
    state.scalars = plain.decode(logical["scalars"])
    for part, key in ((state.scheduler, "scheduler"), (state.scaler, "scaler")):
        if part is not None:
            part.load_state_dict(plain.decode(logical[key]))


def _finish_rng(
    state: TrainingState, opened: Opened, states: dict[str, Any], group: Group
) -> tuple[bool, str]:
    if states:
        if rng.reinstate(states):
            return True, ""
        return False, "the random state of the GPU was not saved: it runs on"
    rng.rederive(state.cursor.seed, state.step, group.rank)
    moved = f"saved by {opened.record.world_size} ranks, read by {group.world_size}: "
    if logical_shards(group) is not None:
        return False, moved + "logical shards draw the same numbers as before"
    return False, moved + "random states are derived anew from (seed, step, rank)"


def _check_parts(opened: Opened, state: TrainingState) -> None:
    """A part that the program has and the checkpoint has not would silently start at zero."""
    logical = opened.record.logical
    absent = [
        name
        for name, part in (
            ("optimizer", state.optimizer),
            ("scheduler", state.scheduler),
            ("scaler", state.scaler),
        )
        if part is not None and logical[name] is None
    ]
    saved = {entry.name for entry in opened.tensors}
    absent += [f"extra[{name!r}]" for name in state.extra if f"{EXTRA}{name}" not in saved]
    if absent:
        raise CheckpointError(
            f"the checkpoint of step {opened.record.step} has no {', '.join(absent)}",
            hint="leave it out of TrainingState while restoring, or start over with resume=never",
        )


def _check_shards(opened: Opened, group: Group) -> None:
    """Another number of shards would silently end the promise that they make."""
    then, now = opened.record.logical_shards, logical_shards(group)
    if then is not None and now is not None and then != now:
        raise CheckpointError(
            f"the checkpoint of step {opened.record.step} was made with logical_shards={then}, "
            f"this run has logical_shards={now}",
            hint=f"go on with logical_shards={then}, or give another run_id to start anew",
        )


def _check_model(opened: Opened, tensors: dict[str, Any], aliases: dict[str, str]) -> None:
    here = specs(tensors)
    if signature(here, aliases).digest == opened.record.signature.digest:
        return
    mine = {item.name: f"{item.dtype}{list(item.shape)}" for item in here}
    mine |= {f"{MODEL}{name}": f"tied to {first}" for name, first in aliases.items()}
    theirs = {item.name: _look(item) for item in opened.tensors if item.name.startswith(MODEL)}
    tied = opened.record.logical["aliases"]
    theirs |= {f"{MODEL}{name}": f"tied to {first}" for name, first in tied.items()}
    odd = [name for name in sorted(mine | theirs) if mine.get(name) != theirs.get(name)]
    lines = [
        f"{name.removeprefix(MODEL)}: checkpoint {theirs.get(name, 'has none')}, "
        f"model {mine.get(name, 'has none')}"
        for name in odd[:_NAMED]
    ]
    more = [f"... and {len(odd) - _NAMED} more"] if len(odd) > _NAMED else []
    raise CheckpointError(
        f"the checkpoint of step {opened.record.step} is of another model: "
        f"{len(odd)} tensors differ",
        context="\n".join(lines + more),
        hint="use the model= it was made with, or another run_id for the new model",
    )


def _look(entry: TensorEntry) -> str:
    return f"{entry.dtype}{list(entry.shape)}"
