"""One process per item, the order of items, stops, kills, and a full disk."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher import staging
from launcher.errors import ConfigError, Interrupted, StagingError, UnknownNameError
from launcher.specs import StagedItem, StageItem
from launcher.staging.stage import in_order

BIG = os.urandom(1 << 20) * 24


def build_item(tmp_path: Path, body: str, name: str = "data", **values: Any) -> StageItem:
    program = tmp_path / f"{name}.py"
    head = (
        "import os, pathlib, sys, time\nout = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
    )
    program.write_text(head + textwrap.dedent(body), encoding="utf-8")
    return StageItem(name=name, uri=f"build://{program}", **values)


@pytest.fixture
def big(tmp_path: Path) -> StageItem:
    (tmp_path / "big.bin").write_bytes(BIG)
    return StageItem(name="model", uri=str(tmp_path / "big.bin"))


def flip_a_bit(file: Path) -> None:
    file.chmod(0o644)
    with file.open("r+b") as opened:
        opened.seek(1000)
        opened.write(bytes([BIG[1000] ^ 1]))


class Slow(staging.NoProgress):
    """Slows a transfer down, and writes its progress to a file."""

    def __init__(self, pause_s: float, told: Path | None = None) -> None:
        self._pause_s, self._told = pause_s, told

    def advanced(self, item_name: str, n_bytes: int) -> None:
        if self._told is not None:
            self._told.write_text(str(n_bytes), encoding="utf-8")
        time.sleep(self._pause_s)


def test_items_come_after_what_they_need() -> None:
    def item(name: str, *needs: str) -> StageItem:
        return StageItem(name=name, uri="/x", needs=needs)

    ordered = in_order([item("model", "data"), item("data", "a", "b"), item("b"), item("a")])
    assert [one.name for one in ordered] == ["b", "a", "data", "model"]


def test_items_in_a_cycle_are_refused() -> None:
    pair = [
        StageItem(name="a", uri="/x", needs=("b",)),
        StageItem(name="b", uri="/x", needs=("a",)),
    ]
    with pytest.raises(ConfigError, match="cycle"):
        in_order(pair)


def test_a_need_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownNameError, match="data") as caught:
        in_order([StageItem(name="model", uri="/x", needs=("data",))])
    assert "data=" in caught.value.hint


def test_two_items_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="same name"):
        in_order([StageItem(name="a", uri="/x"), StageItem(name="a", uri="/y")])


@pytest.mark.process
@pytest.mark.process
def test_independent_items_come_at_the_same_time(tmp_path: Path) -> None:
    # each program waits for the other's sign: one after the other would never end
    body = """
        (out / "x").write_text("x")
        mine, other = {mine!r}, {other!r}
        pathlib.Path(mine).touch()
        deadline = time.time() + 20
        while not os.path.exists(other):
            assert time.time() < deadline
            time.sleep(0.02)
    """
    signs = (str(tmp_path / "sign-a"), str(tmp_path / "sign-b"))
    pair = [
        build_item(tmp_path, body.format(mine=signs[0], other=signs[1]), "a"),
        build_item(tmp_path, body.format(mine=signs[1], other=signs[0]), "b"),
    ]
    assert set(staging.stage(pair, root=tmp_path / "root")) == {"a", "b"}


@pytest.mark.process
@pytest.mark.process
def test_a_failure_ends_the_others(tmp_path: Path) -> None:
    begun, done = str(tmp_path / "begun"), tmp_path / "done"
    slow = build_item(
        tmp_path,
        f"""
        pathlib.Path({begun!r}).touch()
        time.sleep(60)
        pathlib.Path({str(done)!r}).touch()
        """,
        "slow",
    )
    failing = build_item(
        tmp_path,
        f"""
        while not os.path.exists({begun!r}):
            time.sleep(0.02)
        raise SystemExit('bad column')
        """,
        "failing",
    )
    with pytest.raises(StagingError, match="failing"):
        staging.stage([slow, failing], root=tmp_path / "root")
    assert not done.exists()


def test_what_is_there_is_known_by_names_and_sizes_without_reading_it(
    tmp_path: Path, big: StageItem
) -> None:
    first = staging.stage([big], root=tmp_path / "root")["model"]
    flip_a_bit(Path(first.path) / "big.bin")
    again = staging.stage([big], root=tmp_path / "root")["model"]
    assert (again.path, again.transferred_bytes) == (first.path, 0)


def test_a_file_that_changed_is_another_snapshot(tmp_path: Path, big: StageItem) -> None:
    first = staging.stage([big], root=tmp_path / "root")["model"]
    Path(big.uri).write_bytes(b"new")
    second = staging.stage([big], root=tmp_path / "root")["model"]
    assert (Path(second.path) / "big.bin").read_bytes() == b"new"
    assert (Path(first.path) / "big.bin").read_bytes() == BIG


def test_a_file_that_changes_while_it_is_copied_is_refused(tmp_path: Path, big: StageItem) -> None:
    class Meddler(staging.NoProgress):
        def advanced(self, item_name: str, n_bytes: int) -> None:
            os.utime(big.uri, ns=(1, 1))

    with pytest.raises(StagingError, match="changed while"):
        staging.stage([big], root=tmp_path / "root", progress=Meddler())


def test_published_files_cannot_be_overwritten_by_accident(tmp_path: Path, big: StageItem) -> None:
    staged = staging.stage([big], root=tmp_path / "root")["model"]
    assert not (Path(staged.path) / "big.bin").stat().st_mode & 0o222


def test_a_flipped_bit_is_found_by_verify(tmp_path: Path, big: StageItem) -> None:
    staged = staging.stage([big], root=tmp_path / "root")["model"]
    flip_a_bit(Path(staged.path) / "big.bin")
    assert staging.verify(Path(staged.path)) == (
        "the content of `big.bin` has changed since it was staged",
    )


def test_a_folder_without_a_manifest_does_not_count(tmp_path: Path) -> None:
    assert "no manifest" in staging.verify(tmp_path)[0]


def _stage_in_child(item: StageItem, root: Path, ready: Any, results: Any) -> None:
    ready.wait()
    staged = staging.stage([item], root=root, progress=Slow(0.02))["model"]
    results.put((os.getpid(), staged.transferred_bytes, staged.path))


@pytest.mark.process
@pytest.mark.process
def test_two_concurrent_processes_transfer_once(tmp_path: Path, big: StageItem) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, results = spawn.Barrier(3), spawn.Queue()
    children = [
        spawn.Process(target=_stage_in_child, args=(big, tmp_path / "root", ready, results))
        for _ in range(3)
    ]
    for child in children:
        child.start()
    got = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    assert len({path for _, _, path in got}) == 1
    assert sorted(moved for _, moved, _ in got) == [0, 0, len(BIG)]
    assert staging.verify(Path(got[0][2])) == ()
    assert len(list((tmp_path / "root" / "staged").iterdir())) == 1


KILLED = """
import sys, time
from pathlib import Path
from launcher import staging
from launcher.specs import StageItem

class Slow(staging.NoProgress):
    def advanced(self, item_name, n_bytes):
        print(n_bytes, flush=True)
        time.sleep(0.1)

item = StageItem(name="model", uri=sys.argv[1])
staging.stage([item], root=Path(sys.argv[2]), progress=Slow())
"""


@pytest.fixture
def child(tmp_path: Path, big: StageItem) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of staging `big`."""
    argv = [sys.executable, "-c", KILLED, big.uri, str(tmp_path / "root")]
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    for _ in range(4):
        process.stdout.readline()
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def assert_goes_on(tmp_path: Path, big: StageItem) -> None:
    snapshots = [p for p in (tmp_path / "root" / "staged").iterdir() if p.name[0] != "."]
    assert snapshots == []
    staged = staging.stage([big], root=tmp_path / "root")["model"]
    assert staged.transferred_bytes < len(BIG)
    content = (Path(staged.path) / "big.bin").read_bytes()
    assert hashlib.sha256(content).digest() == hashlib.sha256(BIG).digest()
    assert len(list((tmp_path / "root" / "staged").iterdir())) == 1


@pytest.mark.process
@pytest.mark.process
def test_after_kill_9_the_next_call_resumes(
    tmp_path: Path, big: StageItem, child: subprocess.Popen[str]
) -> None:
    child.kill()
    child.wait()
    assert_goes_on(tmp_path, big)


@pytest.mark.process
@pytest.mark.process
def test_ctrl_c_is_an_exit_code_of_its_own_and_loses_nothing(
    tmp_path: Path, big: StageItem, child: subprocess.Popen[str]
) -> None:
    child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=20)
    assert "launcher.errors.Interrupted: staging was interrupted" in error
    assert_goes_on(tmp_path, big)


@pytest.mark.process
@pytest.mark.process
def test_ctrl_c_ends_the_build_program_too(tmp_path: Path) -> None:
    item = build_item(
        tmp_path,
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\ntime.sleep(60)",
    )

    def interrupt() -> None:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text("utf-8"):
            time.sleep(0.02)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted):
        staging.stage([item], root=tmp_path / "root")
    pid = int((tmp_path / "pid").read_text(encoding="utf-8"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


LIMITED = """
import resource, sys
from pathlib import Path
from launcher import staging
from launcher.errors import StagingError
from launcher.specs import StageItem

resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, resource.RLIM_INFINITY))
try:
    staging.stage([StageItem(name="model", uri=sys.argv[1])], root=Path(sys.argv[2]))
except StagingError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.process
@pytest.mark.process
def test_a_disk_that_fills_up_is_a_sentence_and_what_arrived_is_kept(
    tmp_path: Path, big: StageItem
) -> None:
    argv = [sys.executable, "-c", LIMITED, big.uri, str(tmp_path / "root")]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.returncode == 4, ended.stderr
    assert ended.stdout.startswith("disk full: `model` needs")
    assert str(tmp_path / "root") in ended.stdout
    assert_goes_on(tmp_path, big)


def test_what_cannot_fit_is_refused_before_a_byte_is_moved(tmp_path: Path) -> None:
    with (tmp_path / "huge.bin").open("wb") as file:
        file.truncate(1 << 40)
    item = StageItem(name="model", uri=str(tmp_path / "huge.bin"))
    with pytest.raises(StagingError, match=r"disk full: `model` needs 1\.1 TB, free"):
        staging.stage([item], root=tmp_path / "root")


def test_a_listener_that_fails_does_not_leave_threads(tmp_path: Path, big: StageItem) -> None:
    class Broken(staging.NoProgress):
        def finished(self, item: StagedItem) -> None:
            raise RuntimeError("no terminal")

    with pytest.raises(StagingError, match="no terminal"):
        staging.stage([big], root=tmp_path / "root", progress=Broken())
    time.sleep(0.1)
    assert not [t for t in threading.enumerate() if t.name.startswith(("stage-", "transfer-"))]
