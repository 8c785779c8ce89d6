"""The face of the library for a training program: restore once, save now and then, close."""

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

_GRACE_S = 5.0  # by how much longer the others wait than the coordinator, which gives up first
_RNG_BYTES = 2**20  # more than the random states of one rank, and the unevenness of the shares


@dataclass(frozen=True, kw_only=True)
class _Save:
    """One save as the background thread sees it; everything in it is its own."""

    key: CommitKey
    folder: Path
    part: protocol.Part
    payload: memoryview
    total_bytes: int
    snapshot: Snapshot
    settled: threading.Event = field(default_factory=threading.Event)
    """Set once the save is durable or has failed; clearing up may go on after that."""


@dataclass(frozen=True)
class _Session:
    """What all ranks must have in common to find the same data folders."""

    generation: int
    token: str
    """Of the generation's claim."""
    salt: str
    """Drawn anew by rank 0 for each Checkpointer, so that a reopened generation never meets its own
    left-overs."""


class Checkpointer:
    """Saves and restores a `TrainingState`, on every rank of a group at the same steps.

    Making one and `restore` are collective (one small exchange each). `save`, `wait` and `close`
    are not: they meet the other ranks only through storage, so a rank that is gone costs a bounded
    time.
    """

    def __init__(  # noqa: PLR0913 - the public face: every argument but two has a default
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
            generation: the attempt's number; claimed here unless it is claimed already. None takes
                the next free one.
            keep: how many commits stay, or a policy.
            timeout_s: a save is given up when nothing has been written for so long while a rank's
                part is missing.
            on_commit: called on every rank with the step, from a background thread, once a commit
                is durable.
            files: where to write; the file system unless a test says otherwise.

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
        """Newest step known here to be durable.

        Saved by this attempt, or the one it was restored from.
        """
        return self._committed

    def restore(self, state: TrainingState, resume: str = "auto") -> Restored | None:
        """Fill `state` from the newest commit that every rank can read.

        Returns None when the run starts at step 0.

        Args:
            state: is wholly of one commit afterwards, or, when this raises, not to be used.
            resume: `auto`; `never` starts at step 0; `required` refuses to; a step in digits takes
                that one.

        Raises:
            CheckpointError: commits are there and none can be read, or the checkpoint does not fit
                the program. All ranks raise.
            UnknownNameError: there is no such step.
        """
        restorer = Restorer(files=self._files, layout=self._layout, group=self._group)
        found = restorer.run(state, str(resume))
        self._warm_up(state)
        if found is None:
            return None
        restored, self._base = found
        self._committed = restored.step
        return restored

    def save(self, state: TrainingState) -> None:
        """Stage what this rank owns and return; writing and committing go on in the background.

        Call it on every rank at the same step, at a step boundary. Waits first when a save is in
        flight. A step that is committed already is not saved again.

        Raises:
            CheckpointError: an earlier save failed (raised once; the next call saves again), or the
                state cannot be saved.
        """
        self.wait()
        if state.step == self._committed:
            return
        self._join()  # the last save may still be removing old checkpoints
        self._start(self._stage(state))

    def wait(self) -> None:
        """Return once the save in flight is durable on storage.

        Raises:
            CheckpointError: it failed; raised once.
        """
        if self._in_flight is not None:
            self._in_flight.settled.wait()
            self._in_flight = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Wait for the save in flight and let go of the buffer.

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
        with contextlib.suppress(CheckpointError):  # the first error is the one to see
            self.close()

    def _open_session(self, generation: int | None) -> _Session:
        mine: _Session | LauncherError | None = None
        if self._group.rank == 0:
            try:
                mine = self._claim(generation)
            except LauncherError as error:
                mine = error
            except OSError as error:
                mine = CheckpointError(
                    f"the checkpoint folder cannot be used: {error}",
                    hint="check storage.root= and its permissions",
                )
        told: _Session | LauncherError = self._group.all_gather_object(mine)[0]
        if isinstance(told, LauncherError):
            raise told
        return told

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
        """Plan, then copy what this rank owns: the only part that the training loop waits for."""
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
        """Allocate what the first save will need while the first steps run."""
        total = state_bytes(state)
        if total:
            share = total // self._group.world_size + _RNG_BYTES
            on_device = any(item.is_cuda for item in state.model.parameters())
            self._buffer.warm_up(share, pinned=on_device)

    def _pieces(self, replicated: list[TensorSpec], local: list[TensorSpec]) -> tuple[Piece, ...]:
        share = share_out(replicated, self._group.world_size)[self._group.rank]
        return in_file_order([*share, *(whole(item) for item in local)])

    def _nonce(self, step: int) -> str:
        """The same on all ranks without a message, different for every save of a generation."""
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
        """The background thread.

        Whatever goes wrong ends up in `_failure`, for the next call to raise.
        """
        try:
            self._write(save)
            if self._group.rank == 0:
                self._commit(save)
            else:
                self._await_commit(save)
        except CheckpointError as error:
            self._fail(save, error)
        except OSError as error:
            # A coordinator that gives up removes what others still write: its reason is the cause.
            told = protocol.reason_given_up(self._files, save.folder)
            self._fail(save, told or self._explain(error, save))
        except Exception as error:  # a thread has nobody to raise to
            hint = "this is a fault of the checkpoint library: please report it"
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
        """Make room first: what unfinished saves left may be what fills the disk."""
        try:
            retention.sweep(self._files, self._layout, self.generation)
        except OSError as error:
            logger.warning("what unfinished saves left is not removed: %s", error)

    def _retain(self, key: CommitKey) -> None:
        """Remove old commits; a failure here must not make a good save look bad."""
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
            hint="is it dead, stopped, or not calling save at this step? its log tells",
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
                hint="is rank 0 dead or stopped? its log tells",
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
        """Remove the reasons why earlier saves failed.

        Only after a commit: it shows that every rank is done with the saves before it. A rank that
        came late to a save whose reason is gone would wait for a commit that never comes.
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
