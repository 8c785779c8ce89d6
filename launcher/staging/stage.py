"""Staging of items: each once, several at a time, published only when complete."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from launcher.errors import ConfigError, Interrupted, UnknownNameError
from launcher.specs import StagedItem, StageItem
from launcher.specs.secrets import redact, without_secrets
from launcher.staging import place, snapshot
from launcher.staging.failures import staging_error
from launcher.staging.fetcher import Fetched, Fetcher, Workspace, fetcher_for
from launcher.staging.progress import NoProgress, OneAtATime, Progress
from launcher.storage import SnapshotManifest, Stopped

__all__ = ["STAGED", "stage"]

log = logging.getLogger(__name__)

STAGED = "staged"
"""Folder of all staged items below the storage root."""
_LEAVE_S = 10.0
"""How long to wait for stopped items. Child processes get 5 s to exit."""


def stage(
    items: Iterable[StageItem],
    *,
    root: Path,
    progress: Progress | None = None,
) -> dict[str, StagedItem]:
    """Stage `items` below `root` and return their folders. Call it from one process per run.

    Items that do not need each other are staged at the same time. An item that is already staged
    takes milliseconds. A failure stops the other items; the next call resumes them all.

    Args:
        items: what to stage; `needs` may name other items.
        root: the storage root, a folder that all nodes see.
        progress: receives the progress; its methods are never called concurrently.

    Raises:
        StagingError: an item could not be staged. Nothing incomplete is ever published.
        ConfigError: items need each other in a cycle, or an item that does not exist.
        Interrupted: Ctrl-C.
    """
    ordered = in_order(tuple(items))
    stop = threading.Event()
    crew = _Stagers(root, OneAtATime(progress or NoProgress()), stop)
    try:
        return crew.stage(ordered)
    except KeyboardInterrupt:
        stop.set()
        crew.leave()
        raise Interrupted(
            "staging was interrupted",
            hint="repeat the command; it resumes the transfer",
        ) from None


def in_order(items: Sequence[StageItem]) -> tuple[StageItem, ...]:
    """Return `items` in an order in which each comes after those it needs.

    Raises:
        UnknownNameError: an item needs one that does not exist.
        ConfigError: items need each other in a cycle, or two have the same name.
    """
    known = {item.name: item for item in items}
    if len(known) < len(items):
        raise ConfigError("two items to stage have the same name", hint="give each its own name")
    done: dict[str, StageItem] = {}
    while len(done) < len(items):
        ready = [i for i in items if i.name not in done and all(n in done for n in i.needs)]
        if not ready:
            raise _unmet(items, known)
        done.update((item.name, item) for item in ready)
    return tuple(done.values())


def _unmet(items: Sequence[StageItem], known: Mapping[str, StageItem]) -> ConfigError:
    for item in items:
        for need in item.needs:
            if need not in known:
                return UnknownNameError(
                    "staged item",
                    need,
                    known,
                    context=f"`{item.name}` ({redact(item.uri)}) needs it",
                    hint=f"set a {need} too, for example with `{need}=...`",
                )
    names = ", ".join(item.name for item in items if item.needs)
    return ConfigError(f"items need each other in a cycle: {names}", hint="correct their `needs`")


class _Stagers:
    """One thread for each item. It waits for the items that its item needs."""

    def __init__(self, root: Path, progress: OneAtATime, stop: threading.Event) -> None:
        self._root, self._progress, self._stop = root, progress, stop
        self._staged: dict[str, StagedItem] = {}
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._working = 0

    def stage(self, items: Sequence[StageItem]) -> dict[str, StagedItem]:
        self._working = len(items)
        for item in items:
            # daemon threads: one that hangs in a dead connection must not block Ctrl-C
            name = f"stage-{item.name}"
            threading.Thread(target=self._work, args=(item,), name=name, daemon=True).start()
        # not join(): after Ctrl-C in it, Python 3.11 takes a running thread for a finished one
        with self._changed:
            while self._working and self._failure is None:
                self._changed.wait(0.2)
        self.leave()
        if self._failure is not None:
            raise self._failure
        return {item.name: self._staged[item.name] for item in items}

    def leave(self) -> None:
        """Stop the threads and wait for them, up to a limit."""
        self._stop.set()
        with self._changed:
            self._changed.wait_for(lambda: self._working == 0, timeout=_LEAVE_S)

    def _work(self, item: StageItem) -> None:
        try:
            self._stage(item)
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def _stage(self, item: StageItem) -> None:
        try:
            needed = self._wait_for(item.needs)
            staged = _stage_one(item, needed, self._root, self._progress, self._stop)
        except Stopped:
            return
        except BaseException as error:
            log.debug("staging `%s`", item.name, exc_info=True)
            with self._changed:
                where = self._root / STAGED
                self._failure = self._failure or staging_error(item, error, where=where)
            self._stop.set()
            return
        with self._changed:
            self._staged[item.name] = staged
            self._changed.notify_all()

    def _wait_for(self, names: Sequence[str]) -> dict[str, StagedItem]:
        with self._changed:
            while not all(name in self._staged for name in names):
                if self._stop.is_set():
                    raise Stopped
                self._changed.wait(0.2)
            return {name: self._staged[name] for name in names}


def _stage_one(
    item: StageItem,
    needed: Mapping[str, StagedItem],
    root: Path,
    progress: OneAtATime,
    stop: threading.Event,
) -> StagedItem:
    began = time.monotonic()
    fetcher = fetcher_for(item.uri)
    key = _key(item, fetcher, needed)
    target = root.absolute() / STAGED / f"{item.name}-{key}"
    transferred = 0
    manifest = snapshot.find(target)
    if manifest is None:
        inputs = {name: Path(staged.path) for name, staged in needed.items()}
        bringing = _Staging(item, key, target, inputs, progress, stop)
        manifest, transferred = bringing.bring(fetcher)
    else:
        progress.started(item.name, redact(item.uri), manifest.size_bytes)
    staged = snapshot.staged_item(
        item,
        target,
        manifest,
        transferred_bytes=transferred,
        seconds=time.monotonic() - began,
    )
    progress.finished(staged)
    return staged


def _key(item: StageItem, fetcher: Fetcher, needed: Mapping[str, StagedItem]) -> str:
    """Return the key of the item, from its request without secrets, its inputs and its pin."""
    pin = fetcher.pin(item)
    made_of = [needed[name].key for name in item.needs]
    plain = replace(item, uri=without_secrets(item.uri))
    return plain.key((*made_of, f"pin:{pin}") if pin else tuple(made_of))


class _Staging:
    """One item that is not staged yet."""

    def __init__(
        self,
        item: StageItem,
        key: str,
        target: Path,
        inputs: Mapping[str, Path],
        progress: OneAtATime,
        stop: threading.Event,
    ) -> None:
        self._item, self._key, self._target, self._inputs = item, key, target, inputs
        self._progress, self._stop = progress, stop

    def bring(self, fetcher: Fetcher) -> tuple[SnapshotManifest, int]:
        """Stage the item; return its manifest and the bytes that this process transferred."""
        while True:
            partial = place.acquire(self._target, published=self._is_there, stop=self._stop)
            if partial is None:
                return self._published(), 0
            try:
                fetched = self._fetch(fetcher, partial)
                snapshot.publish(partial.files, self._target)
            except BaseException:
                if partial.is_lost() and not self._stop.is_set():
                    continue  # this process was suspended, and another one took over
                partial.release()
                raise
            place.sweep(self._target)
            return self._published(), fetched.transferred_bytes

    def _fetch(self, fetcher: Fetcher, partial: place.Partial) -> Fetched:
        item = self._item
        partial.files.mkdir(exist_ok=True)
        workspace = Workspace(
            item=item,
            files=partial.files,
            scratch=partial.scratch,
            inputs=self._inputs,
            stop=self._stop,
            progress=self._progress,
        )
        with _beating(partial):
            fetched = fetcher.fetch(workspace)
            workspace.check()
            snapshot.seal(
                partial.files,
                item,
                self._key,
                revision=fetched.revision or item.revision,
                sha256=fetched.sha256,
            )
        return fetched

    def _is_there(self) -> bool:
        return snapshot.find(self._target) is not None

    def _published(self) -> SnapshotManifest:
        manifest = snapshot.find(self._target)
        assert manifest is not None, f"{self._target} was published and is not there"
        return manifest


@contextlib.contextmanager
def _beating(partial: place.Partial) -> Iterator[None]:
    done = threading.Event()

    def beat() -> None:
        while not done.wait(place.HEARTBEAT_S):
            partial.beat()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
