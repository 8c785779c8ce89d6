"""Ranged, resumable, verified."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.storage import Download, Stopped, StorageError, TransferPolicy, download, filesystem

POLICY = TransferPolicy(
    connections=3, smallest_range=64 << 10, first_range=256 << 10, pauses_s=(0.01, 0.01)
)


class Transfer:
    """One file from one server, as often as a test likes."""

    def __init__(self, web: Any, tmp_path: Path) -> None:
        self.web, self.scratch = web, tmp_path / "scratch"
        self.stop = threading.Event()
        self.heard = 0
        self.stop_after: int | None = None
        self.wanted = Download(
            path=web.url,
            destination=tmp_path / "files" / "file.bin",
            size_bytes=len(web.content),
            version="v1",
        )

    def __call__(self, **changes: Any) -> int:
        known, _ = filesystem(self.web.url)
        return download(
            known,
            [replace(self.wanted, **changes)],
            scratch=self.scratch,
            stop=self.stop,
            advanced=self._advanced,
            policy=POLICY,
        )

    def cut(self, after: int, **changes: Any) -> None:
        self.stop_after = after
        with pytest.raises(Stopped):
            self(**changes)
        self.stop_after = None
        self.stop.clear()
        self.heard = 0

    def _advanced(self, n_bytes: int) -> None:
        self.heard += n_bytes
        if self.stop_after is not None and self.heard >= self.stop_after:
            self.stop.set()

    @property
    def arrived(self) -> bytes:
        return self.wanted.destination.read_bytes()


@pytest.fixture
def transfer(web: Any, tmp_path: Path) -> Transfer:
    return Transfer(web, tmp_path)


def test_a_file_arrives_whole(transfer: Transfer) -> None:
    assert transfer() == len(transfer.web.content) == transfer.heard
    assert transfer.arrived == transfer.web.content
    assert list(transfer.scratch.iterdir()) == []


def test_a_file_that_is_there_is_not_asked_for(transfer: Transfer) -> None:
    transfer()
    transfer.web.sent = 0
    assert transfer() == 0
    assert transfer.web.sent == 0


def test_after_a_cut_only_the_rest_is_transferred(transfer: Transfer) -> None:
    transfer.cut(after=1 << 20)
    assert not transfer.wanted.destination.exists()
    transferred = transfer()
    assert 0 < transferred <= len(transfer.web.content) - (1 << 20)
    assert transfer.heard == len(transfer.web.content)
    assert transfer.arrived == transfer.web.content


def test_bytes_that_were_damaged_meanwhile_are_fetched_again(transfer: Transfer) -> None:
    transfer.cut(after=1 << 20)
    (partial,) = transfer.scratch.glob("*.part")
    with partial.open("r+b") as file:
        file.write(b"\0" * 1000)  # what a power cut may leave
    transfer()
    assert transfer.arrived == transfer.web.content


def test_a_torn_journal_line_is_ignored(transfer: Transfer) -> None:
    transfer.cut(after=1 << 20)
    (journal,) = transfer.scratch.glob("*.journal")
    journal.write_text(journal.read_text("utf-8")[:-20], encoding="utf-8")
    transfer()
    assert transfer.arrived == transfer.web.content


@pytest.mark.parametrize("version", ["v2", ""])
def test_another_version_is_not_mixed_with_what_came_before(
    version: str, transfer: Transfer
) -> None:
    transfer.cut(after=1 << 20, version=version and "v1")
    transfer.web.content = bytes(reversed(transfer.web.content))
    assert transfer(version=version) == len(transfer.web.content)
    assert transfer.arrived == transfer.web.content


@pytest.mark.parametrize("failures", [[503, 429], [0, 500], [0, 0]])
def test_a_server_that_stumbles_is_asked_again(failures: list[int], transfer: Transfer) -> None:
    transfer.web.failures = failures
    transfer()
    assert transfer.arrived == transfer.web.content


def test_a_server_that_keeps_failing_is_an_error(transfer: Transfer) -> None:
    transfer.web.failures = [503] * 1000
    with pytest.raises(StorageError, match="returned status 503"):
        transfer()


@pytest.mark.parametrize(("status", "kind"), [(404, FileNotFoundError), (403, PermissionError)])
def test_what_asking_again_cannot_mend_is_not_asked_again(
    status: int, kind: type[Exception], transfer: Transfer
) -> None:
    transfer.web.failures = [status] * 1000
    with pytest.raises(kind):
        transfer()
    assert len(transfer.web.failures) > 900


def test_a_server_without_ranges_is_read_as_a_stream(transfer: Transfer) -> None:
    transfer.web.honours_ranges = False
    transfer()
    assert transfer.arrived == transfer.web.content
    assert transfer.web.sent <= 2.5 * len(transfer.web.content)


def test_a_server_that_tells_no_size_is_read_as_a_stream(transfer: Transfer) -> None:
    transfer.web.tells_size = False
    transfer(size_bytes=None)
    assert transfer.arrived == transfer.web.content


def test_a_stream_that_ends_early_is_an_error(transfer: Transfer) -> None:
    transfer.web.honours_ranges = False
    with pytest.raises(StorageError, match="ended after"):
        transfer(size_bytes=len(transfer.web.content) + 1)


def test_a_refused_content_is_thrown_away(transfer: Transfer) -> None:
    def refuse(_: Path) -> None:
        raise ValueError("not what was promised")

    with pytest.raises(ValueError, match="promised"):
        transfer(verify=refuse)
    assert not transfer.wanted.destination.exists()
    assert list(transfer.scratch.iterdir()) == []


def test_an_empty_file_arrives(transfer: Transfer) -> None:
    transfer.web.content = b""
    assert transfer(size_bytes=0) == 0
    assert transfer.arrived == b""


def test_a_stop_is_heard_while_the_server_is_silent(transfer: Transfer) -> None:
    transfer.web.may_answer.clear()
    threading.Timer(0.2, transfer.stop.set).start()
    with pytest.raises(Stopped):
        transfer()
    assert transfer.web.sent == 0


def test_many_files_of_a_folder_arrive(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(300):
        (source / f"{number}.txt").write_text(str(number), encoding="utf-8")
    known, _ = filesystem(str(source))
    wanted = [
        Download(
            path=str(file), destination=tmp_path / "to" / file.name, size_bytes=file.stat().st_size
        )
        for file in source.iterdir()
    ]
    stop = threading.Event()
    moved = download(
        known, wanted, scratch=tmp_path / "scratch", stop=stop, advanced=lambda _: None
    )
    assert moved == sum(len(str(number)) for number in range(300))
    assert (tmp_path / "to" / "299.txt").read_text(encoding="utf-8") == "299"
