from __future__ import annotations

from pathlib import Path

import pytest

from launcher.runs import follow, log_files
from launcher.runs.logs import LogFile, Tail, last_lines
from tests.run_folder import RunFolder


def test_a_tail_gives_whole_lines_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.lines() == []
    with path.open("ab", buffering=0) as file:
        file.write(b"one\ntw")
        assert tail.lines() == ["one"]
        file.write(b"o\n\xff bad\n")
        assert tail.lines() == ["two", "\ufffd bad"]
        file.write(b"10%\r50%\r100%\nend")
        assert tail.lines() == ["100%"]
    assert tail.lines() == []
    assert list(tail.to_end()) == [["end"]]
    assert list(tail.to_end()) == []


def test_logs_are_chosen_by_rank_and_node_with_prefixes(folder: RunFolder) -> None:
    folder.begin()
    for rank in range(4):
        folder.log(rank, f"hello {rank}\n").agent_log(rank, "agent\n")
    assert [log.rank for log in log_files(folder.layout)] == [0, 1, 2, 3]
    assert [log.rank for log in log_files(folder.layout, ranks=[2])] == [2]
    assert [log.rank for log in log_files(folder.layout, nodes=[1, 3])] == [1, 3]
    both = log_files(folder.layout, nodes=[1], agents=True)
    assert [log.prefix for log in both] == ["[node01 rank0001] ", "[node01 agent] "]


def test_following_merges_and_ends_with_what_was_written_last(folder: RunFolder) -> None:
    folder.begin()
    folder.log(0, "a0\n").log(1, "b0\n")
    path = folder.layout.attempt(1).rank_log(0, 0)
    rounds = iter([True, True, False, False])

    def write(_: float) -> None:
        with path.open("a") as file:
            file.write("later\n")
        folder.log(2, "c0\n")  # appears only now

    found = list(
        follow(lambda: log_files(folder.layout), running=lambda: next(rounds, False), sleep=write)
    )
    texts = [log.prefix + line for log, line in found]
    assert texts[:2] == ["[node00 rank0000] a0", "[node01 rank0001] b0"]
    assert set(texts[2:]) == {"[node00 rank0000] later", "[node02 rank0002] c0"}


def test_an_unfinished_last_line_is_shown_at_the_end(folder: RunFolder) -> None:
    folder.begin().log(0, "no newline")
    found = list(follow(lambda: log_files(folder.layout), running=lambda: False))
    assert [line for _, line in found] == ["no newline"]


def test_the_last_lines_of_a_large_log_are_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert last_lines(path, 2) == ["line 99998", "line 99999"]
    assert last_lines(tmp_path / "none", 5) == []


def test_the_last_lines_of_a_log_without_newlines_are_not_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 1_000_000)
    assert sum(map(len, last_lines(path, 10))) == 64 * 1024


def test_other_files_in_the_folder_are_no_logs(folder: RunFolder) -> None:
    folder.begin()
    (folder.layout.attempt(1).logs / "nodeX.log").write_text("")
    (folder.layout.attempt(1).logs / "node01-rankX.log").write_text("")
    assert log_files(folder.layout, agents=True) == []
    assert LogFile(path=Path("x"), node_rank=3, rank=17).prefix == "[node03 rank0017] "


def shown(tail: Tail) -> list[str]:
    return [line for lines in tail.to_end() for line in lines]


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        (b"".join(b"line %d\n" % n for n in range(300_000)), 300_000),
        (b"".join(b"line %d\n" % n for n in range(300_000)) + b"no newline", 300_001),
        (b"x" * 50_000_000 + b"\nend\n", 2),
        (b"".join(b"\r%d%%" % n for n in range(300_000)) + b"\nend\n", 2),
        (bytes(range(256)) * 20_000, 20_001),
        (b"\n" * 3_000_000, 3_000_000),
    ],
    ids=["lines", "no newline", "long line", "progress bar", "binary", "empty lines"],
)
def test_all_that_was_written_is_read_to_the_end(
    tmp_path: Path, written: bytes, lines: int
) -> None:
    path = tmp_path / "log"
    path.write_bytes(written)
    found = shown(Tail(path))
    assert len(found) == lines
    last = written.removesuffix(b"\n").replace(b"\r", b"\n").split(b"\n")[-1]
    assert found[-1] == last.decode("utf-8", "replace")


def test_each_chunk_is_small_and_cuts_no_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    expected = [f"line {n}" for n in range(400_000)]
    path.write_text("\n".join(expected))
    chunks = list(Tail(path).to_end())
    assert [line for chunk in chunks for line in chunk] == expected
    assert max(sum(len(line) + 1 for line in chunk) for chunk in chunks) < 1.1 * 2**20


def test_a_progress_bar_without_newlines_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    with path.open("ab", buffering=0) as file:
        for percent in range(1000):
            file.write(b"\r%3d%%" % percent + b" " * 1000)
            assert tail.lines() == []
            assert len(tail._rest) < 2000
        file.write(b"\r")
        assert tail.lines() == []
        file.write(b"\ndone\n")
    assert [line.strip() for line in tail.lines()] == ["999%", "done"]


def test_a_line_without_end_is_returned_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launcher.runs.logs._LONGEST_LINE", 2 << 20)
    path = tmp_path / "log"
    path.write_bytes(b"x" * 5_000_000)
    found = shown(Tail(path))
    assert [len(part) for part in found] == [2 << 20, 2 << 20, 5_000_000 - (4 << 20)]


def test_a_reader_that_falls_behind_says_how_much_it_omits_and_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"line %07d\n" % n for n in range(1_000_000)))
    note, *found = shown(Tail(path, most_behind=4_000_000))
    omitted = 13 * (1_000_000 - len(found))
    assert f"[{omitted / 1e6:.1f} MB of output omitted here" in note
    assert str(path) in note
    assert found == [f"line {n:07d}" for n in range(1_000_000 - len(found), 1_000_000)]
    assert 1_900_000 < 13 * len(found) <= 2_000_000
    assert shown(Tail(path, most_behind=14_000_000))[0] == "line 0000000"


def test_reading_to_the_end_does_not_wait_for_a_process_that_never_stops(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\n")
    found = []
    for lines in Tail(path).to_end():
        found += lines
        with path.open("a") as file:
            file.write("later\n")
    assert found == ["one"]


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("count", [0, 1, 7, 20_000, 99_999, 100_000, 200_000])
def test_the_last_lines_are_as_many_as_requested(tmp_path: Path, count: int, end: str) -> None:
    path = tmp_path / "log"
    every = [f"line {n}" for n in range(100_000)]
    path.write_text("\n".join(every) + end)
    assert shown(Tail.of_last(path, count)) == (every[-count:] if count else [])


def test_following_can_start_at_the_last_lines(folder: RunFolder) -> None:
    folder.begin().log(0, "old\nlast\n")
    rounds = iter([True, True, False])

    def write(_: float) -> None:
        folder.log(1, "all\nof it\n")

    found = follow(
        lambda: log_files(folder.layout), running=lambda: next(rounds, False), tail=1, sleep=write
    )
    assert [line for _, line in found] == ["last", "all", "of it"]
