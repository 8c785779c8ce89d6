"""The verbs that need no rank: plan, and those that read a run's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.specs import Plan, from_json

SCRIPT = ("recipe=script", "script=train.py", "device=cpu")


@pytest.mark.process
def test_plan_prints_every_command_and_variable(types: Any, here: Path) -> None:
    said = types("plan", *SCRIPT, "nodes=2", "run_id=r", "args=[--x,a b]", "env.COLOR=red")
    assert said.code == 0
    assert "export COLOR=red" in said.out
    assert "--node-rank 1" in said.out
    assert f"/{here.name}/train.py --x 'a b'" in said.out
    assert f"a copy of {here}\n" in said.out
    assert not (here / "outputs").exists()


@pytest.mark.process
def test_plan_as_json_is_the_plan(types: Any) -> None:
    said = types("plan", "--json", *SCRIPT, "nodes=2", "run_id=r")
    plan = from_json(Plan, said.out)
    assert (plan.run_id, len(plan.commands), plan.cluster.world_size) == ("r", 2, 2)


@pytest.mark.process
def test_plan_of_a_sweep_prints_them_all(types: Any) -> None:
    said = types("plan", "-m", *SCRIPT, "nodes=1,2", "run_id=r")
    assert "r-1 (attempt 1)" in said.out
    assert "r-2 (attempt 1)" in said.out


def test_plan_warns_of_a_program_that_is_not_there(types: Any) -> None:
    said = types("plan", "recipe=script", "script=nope.py")
    assert said.code == 0
    assert "nope.py does not exist" in said.err


@pytest.mark.process
def test_plan_of_a_run_that_was_started_otherwise_is_refused(types: Any, make_run: Any) -> None:
    make_run("r")
    said = types("plan", *SCRIPT, "run_id=r", "train.seed=7")
    assert said.code == 2
    assert "train.seed: 42 then, 7 now" in said.err


def test_words_that_mean_nothing_are_refused(types: Any) -> None:
    said = types("plan", "bert_finetune")
    assert said.code == 2
    assert "`plan` does not take the word `bert_finetune`" in said.err


@pytest.mark.process
@pytest.mark.parametrize("verb", ["status", "logs", "why", "stop", "resume", "checkpoints ls"])
def test_a_run_is_named_by_word_or_key_or_is_the_newest(
    types: Any, make_run: Any, verb: str
) -> None:
    make_run("my-run")
    for naming in (["my-run"], ["run_id=my-run"], []):
        said = types(*verb.split(), *naming)
        assert said.code == 0, said.err
        assert ("newest run: my-run" in said.err) is (naming == [])


@pytest.mark.parametrize("verb", ["status", "logs", "why", "stop", "resume", "checkpoints ls"])
def test_a_run_that_is_not_there_offers_the_nearest(types: Any, make_run: Any, verb: str) -> None:
    make_run("my-run")
    said = types(*verb.split(), "my-rum")
    assert said.code == 2
    assert "`my-run`" in said.err


def test_two_runs_at_once_are_refused(types: Any, make_run: Any) -> None:
    make_run("a")
    assert types("why", "a", "run_id=b").code == 2
    assert types("why", "a", "run_id=a").code == 0


def test_storage_root_says_where_the_run_is(types: Any, make_run: Any, here: Path) -> None:
    layout = make_run("my-run")
    moved = here / "moved away"
    layout.path.parent.parent.rename(moved)
    assert types("status", "my-run").code == 2
    assert types("status", "my-run", f"storage.root={moved}").code == 0


def test_status_as_json(types: Any, make_run: Any) -> None:
    make_run("my-run")
    found = json.loads(types("status", "my-run", "--json").out)
    assert (found["run_id"], found["state"]) == ("my-run", "done")


def test_logs_name_the_rank_when_there_are_several(types: Any, make_run: Any) -> None:
    make_run("r")
    assert types("logs", "r").out.splitlines() == [
        "[node00 rank0000] first",
        "[node00 rank0000] second",
        "[node01 rank0001] other",
    ]
    assert types("logs", "r", "--rank", "0").out == "first\nsecond\n"
    assert types("logs", "r", "--rank=0", "--tail", "1").out == "second\n"
    assert types("logs", "r", "--node", "1", "--follow").out == "other\n"


def test_logs_of_an_attempt_that_is_not_there_name_those_that_are(
    types: Any, make_run: Any
) -> None:
    make_run("r")
    said = types("logs", "r", "--attempt", "9")
    assert said.code == 2
    assert "r has no attempt 9" in said.err
    assert "it has the attempts 1" in said.err


def test_logs_of_a_rank_that_is_not_there_name_those_that_are(types: Any, make_run: Any) -> None:
    make_run("r")
    said = types("logs", "r", "--rank", "7")
    assert said.code == 2
    assert "0, 1" in said.err


@pytest.mark.process
def test_resume_of_a_finished_run_says_so(types: Any, make_run: Any) -> None:
    make_run("r")
    assert "already done" in types("resume", "r").out


@pytest.mark.process
def test_resume_with_another_seed_is_refused(types: Any, make_run: Any) -> None:
    make_run("r")
    said = types("resume", "r", "train.seed=7")
    assert said.code == 2
    assert "train.seed" in said.err


def test_checkpoints_without_any(types: Any, make_run: Any) -> None:
    make_run("r")
    assert "no checkpoint yet" in types("checkpoints", "ls", "r").out
    assert types("checkpoints", "ls", "r", "--json").out == "[]\n"
    assert types("checkpoints", "verify", "r").code == 2
    assert types("checkpoints", "export", "r").code == 2  # without --to
    said = types("checkpoints", "verfy", "r")
    assert said.code == 2
    assert "`verify`" in said.err


def test_stop_of_a_run_that_does_not_run_changes_nothing(types: Any, make_run: Any) -> None:
    layout = make_run("r")
    assert "is not running" in types("stop", "r").out
    assert not layout.stop.exists()


def test_stage_without_anything_to_stage_says_so(types: Any) -> None:
    assert "nothing to stage" in types("stage").out
