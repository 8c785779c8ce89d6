"""The interface for a training program: restore once, save regularly, close."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from launcher.checkpoint import protocol, retention, rng, space
from launcher.checkpoint.blocks import DamagedError
from launcher.checkpoint.files import Files, PosixFiles
from launcher.checkpoint.generations import claim_generation, next_generation, read_generation
from launcher.checkpoint.group import Group, logical_shards
from launcher.checkpoint.layout import (
    CheckpointLayout,
    CommitKey,
    CommitRecord,
    data_name,
    shard_name,
)
from launcher.checkpoint.plan import Piece, TensorSpec, in_file_order, share_out, whole
from launcher.checkpoint.restoring import Restored, Restorer
from launcher.checkpoint.retention import KeepLast, RetentionPolicy
from launcher.checkpoint.shards import describe
from launcher.checkpoint.staging_buffer import StagingBuffer
from launcher.checkpoint.state import Snapshot, TrainingState, collect, specs, state_bytes
from launcher.checkpoint.verification import open_commit
from launcher.errors import CheckpointError, LauncherError

logger = logging.getLogger(__name__)

_GRACE_S = 5.0  # the other ranks wait this much longer, so that the coordinator gives up first
_RNG_BYTES = 2**20  # upper limit of the random states of a rank plus the rounding of its share


@dataclass(frozen=True, kw_only=True)
class _Save:
    """What the background thread needs for one save. The training loop does not change it."""

    key: CommitKey
    folder: Path
    part: protocol.Part
    payload: memoryview
    total_bytes: int
    snapshot: Snapshot
    settled: threading.Event = field(default_factory=threading.Event)
    """Set once the save is durable or has failed. Removal of old checkpoints may still run."""


@dataclass(frozen=True)
class _Session:
    """What all ranks share, so that they use the same data folders."""

    generation: int
    token: str
    """From the claim of the generation."""
    salt: str
    """Drawn by rank 0 for each Checkpointer, so that a reopened generation never uses a folder of
    its earlier saves."""


class Checkpointer:
    """Saves and restores a `TrainingState`, on every rank of a group at the same steps.

    The constructor and `restore` are collective: one small exchange each. `save`, `wait` and
    `close` use only storage, so a dead rank cannot block them longer than the timeout.
    """

    def __init__(  # noqa: PLR0913 - public interface: all arguments but two have defaults
        self,
        directory: Path | str,
        *,
        group: Group,
        generation: int | None = None,
        keep: int | RetentionPolicy = 2,
        timeout_s: float = 120.0,
        on_commit: Callable[[int], None] | None = None,
        files: Files | None = None,
    ) -> None:
        """Open a checkpoint folder for one attempt.

        Args:
            directory: the `checkpoints` folder of the run, on storage that all ranks see.
            group: the ranks; `SingleProcess()` for one.
            generation: number of the attempt. It is claimed here, unless it is already claimed.
                None takes the next free number.
            keep: how many commits to keep, or a policy.
            timeout_s: give up a save if a rank's part is missing and nothing was written for so
                long.
            on_commit: called on every rank with the step, from a background thread, once a commit
                is durable.
            files: where to write; tests replace it.

        Raises:
            CheckpointError: the generation is taken or cannot be claimed.
        """
        self._files: Files = files or PosixFiles()
        self._layout = CheckpointLayout(Path(directory))
        self._group = group
        self._policy = KeepLast(keep) if isinstance(keep, int) else keep
        self._timeout_s = timeout_s
        self._on_commit = on_commit
        self._session = self._open_session(generation)
        self._saves = 0
        self._buffer = StagingBuffer()
        self._base: CommitKey | None = None
        self._thread: threading.Thread | None = None
        self._in_flight: _Save | None = None
        self._failure: CheckpointError | None = None
        self._committed: int | None = None
        self._given_up: list[Path] = []

    @property
    def generation(self) -> int:
        return self._session.generation

    @property
    def committed_step(self) -> int | None:
        """Newest step known to be committed: saved by this attempt, or restored."""
        return self._committed

    def restore(self, state: TrainingState, resume: str = "auto") -> Restored | None:
        """Fill `state` from the newest commit that every rank can read.

        Returns None if the run starts at step 0. If this raises, do not use `state`: it may be a
        mixture.

        Args:
            state: filled from one commit.
            resume: `auto`; `never` starts at step 0; `required` fails without a checkpoint; a step
                in digits restores that step.

        Raises:
            CheckpointError: commits exist and none can be read, or the checkpoint does not fit the
                program. All ranks raise.
            UnknownNameError: there is no checkpoint of that step.
        """
        restorer = Restorer(files=self._files, layout=self._layout, group=self._group)
        result = restorer.run(state, str(resume))
        self._warm_up(state)
        if result is None:
            return None
        restored, self._base = result
        self._committed = restored.step
        return restored

    def save(self, state: TrainingState) -> None:
        """Copy what this rank owns and return. A background thread writes and commits it.

        Call it on every rank at the same step, at a step boundary. It first waits for a save in
        flight. A step that is already committed is not saved again.

        Raises:
            CheckpointError: an earlier save failed (raised once; the next call saves again), or the
                state cannot be saved.
        """
        self.wait()
        if state.step == self._committed:
            return
        self._join()  # the thread of the last save may still remove old checkpoints
        self._start(self._stage(state))

    def wait(self) -> None:
        """Return once the save in flight is durable.

        Raises:
            CheckpointError: it failed. Raised once.
        """
        if self._in_flight is not None:
            self._in_flight.settled.wait()
            self._in_flight = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Wait for the save in flight and free the buffer.

        Raises:
            CheckpointError: that save failed.
        """
        try:
            self.wait()
        finally:
            self._join()
            self._buffer = StagingBuffer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(CheckpointError):  # must not hide the first error
            self.close()

    def _open_session(self, generation: int | None) -> _Session:
        own: _Session | LauncherError | None = None
        if self._group.rank == 0:
            try:
                own = self._claim(generation)
            except LauncherError as error:
                own = error
            except OSError as error:
                own = space.unusable(error, self._layout.path)
        session: _Session | LauncherError = self._group.all_gather_object(own)[0]
        if isinstance(session, LauncherError):
            raise session
        return session

    def _claim(self, generation: int | None) -> _Session:
        number = generation or next_generation(self._layout.path, files=self._files)
        path = self._layout.generation(number)
        if path.name not in self._files.sizes(path.parent):
            info = {"engine": self._engine, "world_size": self._group.world_size}
            claim_generation(self._layout.path, number, info=info, files=self._files)
        claim = read_generation(self._files, self._layout, number)
        return _Session(number, claim.token, secrets.token_hex(8))

    @property
    def _engine(self) -> str:
        return str(getattr(self._group, "name", ""))

    def _stage(self, state: TrainingState) -> _Save:
        """Plan, then copy what this rank owns. The training loop waits only for this."""
        snapshot = collect(state)
        own = {f"rng/{self._group.rank:03d}/{name}": item for name, item in rng.capture().items()}
        replicated, local = specs(snapshot.tensors), specs(own)
        pieces = self._pieces(replicated, local)
        key = CommitKey(self.generation, state.step)
        file = shard_name(self._group.rank)
        metadata = {"format": "pt", "step": str(state.step), "rank": str(self._group.rank)}
        self._saves += 1
        return _Save(
            key=key,
            folder=self._layout.data_folder(data_name(key, self._nonce(state.step))),
            part=protocol.Part(
                key=key,
                rank=self._group.rank,
                world_size=self._group.world_size,
                file=file,
                shard=describe(pieces, file, metadata),
                agreed=snapshot.agreed(),
            ),
            payload=self._buffer.stage(pieces, {**snapshot.tensors, **own}),
            total_bytes=sum(item.size_bytes for item in replicated)
            + self._group.world_size * sum(item.size_bytes for item in local),
            snapshot=snapshot,
        )

    def _warm_up(self, state: TrainingState) -> None:
        """Allocate the memory of the first save while the first steps run."""
        total = state_bytes(state)
        if total:
            share = total // self._group.world_size + _RNG_BYTES
            on_device = any(item.is_cuda for item in state.model.parameters())
            self._buffer.warm_up(share, pinned=on_device)

    def _pieces(self, replicated: list[TensorSpec], local: list[TensorSpec]) -> tuple[Piece, ...]:
        share = share_out(replicated, self._group.world_size)[self._group.rank]
        return in_file_order([*share, *(whole(item) for item in local)])

    def _nonce(self, step: int) -> str:
        """Equal on all ranks without communication, different for every save of a generation."""
        session = self._session
        text = f"{session.token}:{session.salt}:{self._saves}:{step}"
        return hashlib.sha256(text.encode()).hexdigest()[:4]

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _start(self, save: _Save) -> None:
        self._in_flight = save
        self._thread = threading.Thread(
            target=self._run, args=(save,), name=f"checkpoint-{save.key.step}", daemon=True
        )
        self._thread.start()

    def _run(self, save: _Save) -> None:
        """Run in the background thread. Errors go to `_failure`; the next call raises them."""
        try:
            self._write(save)
            if self._group.rank == 0:
                self._commit(save)
            else:
                self._await_commit(save)
        except CheckpointError as error:
            self._fail(save, error)
        except OSError as error:
            # if the coordinator gave up and removed the files of this rank, report its reason
            reason = protocol.reason_given_up(self._files, save.folder)
            self._fail(save, reason or self._explain(error, save))
        except Exception as error:  # nothing can catch an error of a thread
            hint = "this is a bug in the checkpoint library: please report it"
            self._fail(save, CheckpointError(f"saving failed: {error!r}", hint=hint))
        else:
            self._committed = save.key.step
            self._report(save.key.step)
        finally:
            save.settled.set()
        if self._committed == save.key.step and self._group.rank == 0:
            self._remove_given_up()
            self._retain(save.key)

    def _explain(self, error: OSError, save: _Save) -> CheckpointError:
        return space.explain(
            error, self._files, save.folder, needed=save.total_bytes, step=save.key.step
        )

    def _write(self, save: _Save) -> None:
        if self._group.rank == 0:
            self._clear_up()
        self._files.make_folder(save.folder)
        if reason := protocol.reason_given_up(self._files, save.folder):
            raise reason
        space.check(self._files, save.folder, total_bytes=save.total_bytes, step=save.key.step)
        protocol.write_part(self._files, save.folder, save.part, save.payload)

    def _commit(self, save: _Save) -> None:
        world = self._group.world_size
        raw = protocol.wait_for(
            lambda: protocol.look_for_manifests(self._files, save.folder, world),
            timeout_s=self._timeout_s,
        )
        if raw is None:
            raise self._missing(save)
        agreed = save.part.agreed
        manifests, size = protocol.check_manifests(self._files, save.folder, raw, agreed)
        record = CommitRecord(
            generation=save.key.generation,
            step=save.key.step,
            data=save.folder.name,
            world_size=world,
            engine=self._engine,
            created_at=time.time(),
            base=self._base,
            size_bytes=size,
            manifests=manifests,
            signature=save.snapshot.signature,
            logical=save.snapshot.logical,
            logical_shards=logical_shards(self._group),
        )
        protocol.publish(self._files, self._layout, record)
        logger.info("checkpoint of step %d is committed (%d bytes)", save.key.step, size)

    def _clear_up(self) -> None:
        """Remove unfinished saves first: they may be what fills the disk."""
        try:
            retention.sweep(self._files, self._layout, self.generation)
        except OSError as error:
            logger.warning("the data of unfinished saves is not removed: %s", error)

    def _retain(self, key: CommitKey) -> None:
        """Remove old commits. A failure here must not fail the save."""
        try:
            open_commit(self._files, self._layout, key)
            retention.retain(self._files, self._layout, self._policy, newest=key)
        except (DamagedError, OSError) as error:
            logger.warning("older checkpoints are not removed: %s", error)

    def _missing(self, save: _Save) -> CheckpointError:
        ranks = protocol.missing_ranks(self._files, save.folder, self._group.world_size)
        names = ", ".join(str(rank) for rank in ranks)
        return CheckpointError(
            f"step {save.key.step} is not saved: "
            f"nothing came from rank {names} for {self._timeout_s:g} s",
            context=str(save.folder),
            hint="it may be dead, stopped, or not calling save() at this step; see its log",
        )

    def _await_commit(self, save: _Save) -> None:
        done = protocol.wait_for(
            lambda: protocol.look_for_outcome(self._files, self._layout, save.key, save.folder),
            timeout_s=2 * self._timeout_s + min(self._timeout_s, _GRACE_S),
        )
        if done is None:
            raise CheckpointError(
                f"step {save.key.step} is not saved: rank 0 neither commits it nor gives it up",
                context=str(save.folder),
                hint="rank 0 may be dead or stopped; see its log",
            )

    def _fail(self, save: _Save, error: CheckpointError) -> None:
        logger.warning("%s", error.message)
        self._failure = error
        if self._group.rank != 0:
            protocol.leave_note(self._files, save.folder, save.part, error)
            return
        alone = self._group.world_size == 1
        protocol.give_up(self._files, save.folder, error, alone=alone)
        self._given_up += [] if alone else [save.folder]

    def _remove_given_up(self) -> None:
        """Remove the folders with the reasons why earlier saves failed.

        Only a commit shows that every rank is done with the saves before it. A rank that comes
        late and finds no reason would wait for a commit that never comes.
        """
        for folder in self._given_up:
            self._files.remove_folder(folder)
        self._given_up.clear()

    def _report(self, step: int) -> None:
        if self._on_commit is None:
            return
        try:
            self._on_commit(step)
        except Exception:
            logger.exception("the on_commit callback failed")
