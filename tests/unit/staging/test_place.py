"""Who works where, without locks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from launcher.staging.place import STALE_S, Owner, Partial, acquire, sweep
from launcher.storage import Stopped


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "staged" / "model-0123456789abcdef"


def get(target: Path, *, within_s: float = 10) -> Partial:
    stop = threading.Event()
    timer = threading.Timer(within_s, stop.set)
    timer.start()
    try:
        partial = acquire(target, published=lambda: False, stop=stop)
    finally:
        timer.cancel()
    assert partial is not None
    return partial


def dead_owner() -> Owner:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return Owner(Owner.me().machine, child.pid, "1")


def beginning_of(label: str, target: Path) -> Partial:
    partial = Partial(target.with_name(f".partial-{target.name}"), 1)
    partial.files.mkdir(parents=True)
    (partial.files / "half").write_bytes(b"half")
    partial.claim.write_text(label, encoding="ascii")
    return partial


def make_old(path: Path) -> None:
    old = time.time() - STALE_S - 5
    os.utime(path, (old, old))


def test_the_first_gets_an_empty_folder(target: Path) -> None:
    partial = get(target)
    assert partial.folder.parent == target.parent
    assert list(partial.path.iterdir()) == []


def test_what_was_released_is_taken_up_by_the_next(target: Path) -> None:
    first = get(target)
    first.files.mkdir()
    (first.files / "half").write_bytes(b"half")
    first.release()
    second = get(target)
    assert (second.files / "half").read_bytes() == b"half"
    assert first.is_lost()


@pytest.mark.process
@pytest.mark.process
def test_what_a_dead_process_left_is_taken_up(target: Path) -> None:
    left = beginning_of(dead_owner().label, target)
    assert (get(target).files / "half").exists()
    assert left.is_lost()


def test_a_process_id_that_was_used_again_is_another_process(target: Path) -> None:
    me = Owner.me()
    beginning_of(Owner(me.machine, me.pid, str(int(me.started) - 1)).label, target)
    assert (get(target).files / "half").exists()


def test_a_living_process_is_waited_for(target: Path) -> None:
    get(target)
    with pytest.raises(Stopped):
        get(target, within_s=0.3)


def test_waiting_ends_when_the_other_publishes(target: Path) -> None:
    get(target)
    answers = iter([False, False, False, True])
    found = acquire(target, published=lambda: next(answers), stop=threading.Event())
    assert found is None
    assert list(target.parent.iterdir()) == []


def test_what_is_published_in_the_last_moment_is_not_begun_again(target: Path) -> None:
    answers = iter([False, True, True])
    assert acquire(target, published=lambda: next(answers), stop=threading.Event()) is None
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("label", [Owner("0123456789", 1, "1").label, ""])
def test_who_cannot_be_seen_lives_while_their_heart_beats(label: str, target: Path) -> None:
    partial = beginning_of(label, target)
    with pytest.raises(Stopped):
        get(target, within_s=0.3)
    make_old(partial.claim)
    assert (get(target).files / "half").exists()


def test_a_heartbeat_keeps_a_claim(target: Path) -> None:
    partial = get(target)
    make_old(partial.claim)
    old = partial.claim.stat().st_mtime
    partial.beat()
    assert partial.claim.stat().st_mtime >= old + STALE_S


@pytest.mark.process
@pytest.mark.process
def test_a_claim_whose_work_was_taken_by_a_slower_one_is_given_back(target: Path) -> None:
    # claimed, and died before it made a work folder
    partial = Partial(target.with_name(f".partial-{target.name}"), 7)
    partial.folder.mkdir(parents=True)
    partial.claim.write_text(dead_owner().label, encoding="ascii")
    taken = get(target)
    assert taken.number == 8
    assert taken.path.is_dir()


def refuse_links(*_: object) -> None:
    raise PermissionError("no links on this file system")


@pytest.mark.process
@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("left", [True, False])
@pytest.mark.process
def test_of_many_at_once_exactly_one_works(
    left: bool, links: bool, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", refuse_links)
    for _ in range(20):
        if left:
            beginning_of(dead_owner().label, target)
        got: list[Partial] = []
        stop, barrier = threading.Event(), threading.Barrier(6)

        def run(barrier: threading.Barrier, stop: threading.Event, got: list[Partial]) -> None:
            barrier.wait()
            try:
                partial = acquire(target, published=lambda: False, stop=stop)
            except Stopped:
                return
            assert partial is not None
            got.append(partial)
            time.sleep(0.02)
            stop.set()

        threads = [threading.Thread(target=run, args=(barrier, stop, got)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [(partial.files / "half").exists() for partial in got] == [left]
        sweep(target)


def test_sweeping_leaves_other_beginnings_alone(target: Path) -> None:
    get(target)
    other = get(target.with_name("model-ffffffffffffffff"))
    sweep(target)
    assert list(target.parent.iterdir()) == [other.folder]


def test_a_label_round_trips() -> None:
    me = Owner.me()
    assert Owner.of(me.label) == me
    assert me.lives_here()
    assert Owner.of("free") is None
