from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from launcher.runs import events
from tests.run_folder import RunFolder


def example(kind: type[events.Event]) -> events.Event:
    samples = {
        "float": 1.5,
        "int": 3,
        "str": "x",
        "bool": True,
        "int | None": None,
        "tuple[str, ...]": ("a", "b"),
    }
    values: dict[str, Any] = {
        each.name: samples[str(each.type)]
        for each in dataclasses.fields(kind)
        if str(each.type) in samples
    }
    return kind(**values)


@pytest.mark.parametrize("kind", events.KINDS.values(), ids=list(events.KINDS))
def test_every_event_survives_the_file(kind: type[events.Event], tmp_path: Path) -> None:
    event = example(kind)
    events.append(tmp_path / "events.jsonl", event)
    assert events.read(tmp_path / "events.jsonl") == [event]


def test_names_are_stable_words() -> None:
    assert set(events.KINDS) == {
        "attempt_started",
        "node_started",
        "node_exited",
        "node_lost",
        "nodes_changed",
        "start_failed",
        "ranks_joined",
        "rank_failed",
        "committed",
        "hang_suspected",
        "stop_requested",
        "killed",
        "attempt_ended",
        "run_ended",
    }


@pytest.mark.parametrize(
    ("nodes", "lost", "joined", "sentence"),
    [
        (3, ("b",), (), "continues with 3 of 4 nodes: without b"),
        (1, ("b", "c", "d"), (), "continues with 1 of 4 nodes: without b, c, d"),
        (4, ("b",), ("s",), "continues with s in place of b: 4 nodes"),
        (5, (), ("b",), "continues with b as well: 5 nodes"),
    ],
)
def test_a_change_of_nodes_is_told_in_words(
    nodes: int, lost: tuple[str, ...], joined: tuple[str, ...], sentence: str
) -> None:
    event = events.NodesChanged(at=1.0, nodes=nodes, before=4, lost=lost, joined=joined)
    assert event.sentence == sentence


def test_lines_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events.append(path, events.Committed(at=1.0, step=5))
    with path.open("a") as file:
        file.write('{"event": "of_a_newer_launcher", "at": 2}\n')
        file.write('{"event": "committed", "at": 3, "step": 7, "new_field": 1}\n')
        file.write('[]\n{"event": "committed", "at"')
    assert [each.at for each in events.read(path)] == [1.0, 3.0]


def test_a_missing_file_has_no_events(tmp_path: Path) -> None:
    assert events.read(tmp_path / "none") == []


def test_history_goes_over_all_attempts_in_order(folder: RunFolder) -> None:
    folder.begin(attempt=1)
    folder.begin(attempt=2)
    folder.begin(attempt=10)
    found = [
        each for each in events.history(folder.layout) if isinstance(each, events.AttemptStarted)
    ]
    assert [each.attempt for each in found] == [1, 2, 10]
