from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from launcher.nodes.probe import LAUNCHER, Question, ask
from launcher.specs import Node
from launcher.transports import Answer, Reach, Transport, create

NODES = tuple(
    Node(node_rank=rank, name="localhost", address="127.0.0.1", slots=1) for rank in range(2)
)


@pytest.fixture
def transport() -> Transport:
    return create("local", Reach(nodes=NODES, python=sys.executable))


def question(root: Path, *, write: bool = True) -> Question:
    return Question(root=root, ports=(1,), write=write, timeout_s=60)


@pytest.mark.process
def test_real_nodes_tell_what_this_machine_is(transport: Transport, tmp_path: Path) -> None:
    for facts in ask(transport, NODES, question(tmp_path)):
        assert not facts.problem
        assert not facts.problems
        assert not facts.storage_problem
        assert facts.executable == sys.executable
        assert facts.cpus == len(os.sched_getaffinity(0))
        assert facts.version(LAUNCHER)
        assert facts.code
        assert facts.free_root
        assert "127.0.0.1" in facts.head_name
        assert abs(facts.clock_offset_s) <= facts.clock_error_s + 0.5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_a_storage_root_that_is_not_there_yet_is_made(transport: Transport, tmp_path: Path) -> None:
    root = tmp_path / "a" / "b"
    assert not any(each.storage_problem for each in ask(transport, NODES, question(root)))


@pytest.mark.process
def test_without_permission_to_write_nothing_is_written(
    transport: Transport, tmp_path: Path
) -> None:
    ask(transport, NODES, question(tmp_path / "none", write=False))
    assert list(tmp_path.iterdir()) == []


def test_a_storage_root_that_cannot_be_written_here_is_told_as_it_is(
    transport: Transport, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        ask(transport, NODES, question(tmp_path / "file" / "root"))


def test_what_a_node_writes_elsewhere_is_missed_here(tmp_path: Path) -> None:
    class Elsewhere:
        """Its nodes claim to have written, as one does on a folder that was copied to it."""

        def ask(self, source, requests, *, timeout_s):  # type: ignore[no-untyped-def]
            value = {"facts": {"storage": {}}, "problems": {}, "began": 0.0, "ended": 0.0}
            return {rank: Answer(node_rank=rank, value=value) for rank in requests}

    for facts in ask(Elsewhere(), NODES[:1], question(tmp_path)):  # type: ignore[arg-type]
        assert facts.storage_problem == "what it writes is not seen here"
