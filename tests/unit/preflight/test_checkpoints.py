"""A run that was saved never starts over without a word."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.nodes import PreflightConfig
from launcher.preflight.check import Subject
from launcher.preflight.checkpoints import still_there
from launcher.specs import (
    CheckpointPolicy,
    Cluster,
    Command,
    Node,
    Plan,
    Program,
    RankRecord,
    RankState,
    Rendezvous,
    RunLayout,
    to_json,
)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    plan = Plan(
        run_id="r1",
        attempt=2,
        recipe="script",
        storage_root=str(tmp_path),
        cluster=Cluster(
            nodes=(Node(node_rank=0, name="local0", address="127.0.0.1", slots=1),),
            source="local",
        ),
        backend="torchrun",
        transport="local",
        python="python3",
        device="cpu",
        program=Program(path="train.py"),
        rendezvous=Rendezvous(address="127.0.0.1", port=1),
        checkpoint=CheckpointPolicy(every_steps=0, keep=2, resume="auto"),
        commands=(Command(node_rank=0, argv=(sys.executable,), cwd="/"),),
    )
    return Subject(plan=plan, layout=RunLayout.of(tmp_path, "r1"), config=PreflightConfig())


def saved_at(layout: RunLayout, step: int | None) -> None:
    record = RankRecord(
        rank=0,
        local_rank=0,
        node_rank=0,
        node="local0",
        host="h",
        pid=1,
        attempt=1,
        state=RankState.SAVED,
        started_at=1.0,
        heartbeat_at=1.0,
        progress_at=1.0,
        committed_step=step,
    )
    folder = layout.attempt(1).ranks
    folder.mkdir(parents=True)
    (folder / "0000.json").write_text(to_json(record))


def test_a_new_run_has_nothing_to_miss(subject: Subject) -> None:
    assert still_there(subject) is None


def test_a_run_that_was_cut_before_its_first_save_may_begin_again(subject: Subject) -> None:
    saved_at(subject.layout, None)
    assert still_there(subject) is None


def test_lost_checkpoints_are_missed(subject: Subject) -> None:
    saved_at(subject.layout, 32)
    trouble = still_there(subject)
    assert trouble is not None
    assert "saved at step 32" in trouble.what
    assert "resume=never" in trouble.hint


def test_whoever_asks_for_a_new_start_gets_it(subject: Subject) -> None:
    saved_at(subject.layout, 32)
    never = replace(subject.plan, checkpoint=replace(subject.plan.checkpoint, resume="never"))
    assert still_there(replace(subject, plan=never)) is None


def test_one_that_is_left_is_enough_even_if_it_is_damaged(subject: Subject) -> None:
    saved_at(subject.layout, 32)
    commits = subject.layout.checkpoints / "commits"
    commits.mkdir(parents=True)
    (commits / "000001-00000032.json").write_text("garbage")
    assert still_there(subject) is None


@pytest.mark.parametrize("resume", ["required", "12"])
def test_resuming_from_what_was_never_saved_is_refused(subject: Subject, resume: str) -> None:
    """Not every program looks for checkpoints, so the ranks cannot be relied on to say it."""
    plan = replace(subject.plan, checkpoint=replace(subject.plan.checkpoint, resume=resume))
    trouble = still_there(replace(subject, plan=plan))
    assert trouble is not None
    assert f"resume={resume}" in trouble.what
