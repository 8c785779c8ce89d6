from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.runs import follow, log_files, logs
from launcher.runs.logs import LogFile, Tail, last_lines

if TYPE_CHECKING:
    RunFolder = Any


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
        follow(lambda: log_files(folder.layout), going_on=lambda: next(rounds, False), sleep=write)
    )
    texts = [log.prefix + line for log, line in found]
    assert texts[:2] == ["[node00 rank0000] a0", "[node01 rank0001] b0"]
    assert set(texts[2:]) == {"[node00 rank0000] later", "[node02 rank0002] c0"}


def test_an_unfinished_last_line_is_shown_at_the_end(folder: RunFolder) -> None:
    folder.begin().log(0, "no newline")
    found = list(follow(lambda: log_files(folder.layout), going_on=lambda: False))
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


def line(step: int, loss: float, **more: Any) -> dict[str, Any]:
    return {"step": step, "loss": loss, "step_time_s": 0.5, **more}


def test_for_each_step_the_newest_attempt_counts(folder: RunFolder) -> None:
    folder.begin(attempt=1).metrics([line(step, 1.0) for step in (1, 2, 3, 4)])
    folder.begin(attempt=2).metrics([line(3, 2.0), line(4, 2.0), line(5, 2.0)])
    found = logs.history(folder.layout)
    assert [(each["step"], each["loss"], each["attempt"]) for each in found] == [
        (1, 1.0, 1),
        (2, 1.0, 1),
        (3, 2.0, 2),
        (4, 2.0, 2),
        (5, 2.0, 2),
    ]


def test_evaluations_stand_after_the_step_they_belong_to(folder: RunFolder) -> None:
    folder.begin().metrics([line(1, 1.0), {"step": 1, "eval": {"accuracy": 0.5}}, line(2, 0.9)])
    found = logs.history(folder.layout)
    assert ["eval" in each for each in found] == [False, True, False]
    assert len(logs.steps(found)) == 2
    assert len(logs.evaluations(found)) == 1


def test_work_done_twice_is_lost_once(folder: RunFolder) -> None:
    folder.begin(attempt=1).metrics([line(step, 1.0) for step in range(1, 11)])
    assert logs.lost_seconds(folder.layout) == 0
    folder.begin(attempt=2).metrics([line(step, 1.0) for step in range(8, 12)])
    assert logs.lost_seconds(folder.layout) == 1.5


def test_merging_keeps_every_digit_and_survives_a_cut_line(folder: RunFolder) -> None:
    loss = 0.1 + 0.2
    folder.begin().metrics([line(1, loss)])
    with folder.layout.attempt(1).metrics.open("a") as file:
        file.write('{"step": 2, "lo')
    logs.merge(folder.layout)
    (only,) = [json.loads(text) for text in folder.layout.metrics.read_text().splitlines()]
    assert only["loss"] == loss
    logs.merge(folder.layout)
    assert len(folder.layout.metrics.read_text().splitlines()) == 1
