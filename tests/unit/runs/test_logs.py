from __future__ import annotations

from pathlib import Path

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
    assert tail.lines(final=True) == ["end"]
    assert tail.lines(final=True) == []


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


def test_other_files_in_the_folder_are_no_logs(folder: RunFolder) -> None:
    folder.begin()
    (folder.layout.attempt(1).logs / "nodeX.log").write_text("")
    (folder.layout.attempt(1).logs / "node01-rankX.log").write_text("")
    assert log_files(folder.layout, agents=True) == []
    assert LogFile(path=Path("x"), node_rank=3, rank=17).prefix == "[node03 rank0017] "
