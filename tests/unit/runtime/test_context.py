"""The rank as the program sees it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from launcher.errors import ConfigError, StagingError
from launcher.runtime.context import RankContext
from launcher.runtime.engines.single import SingleEngine
from launcher.runtime.environ import LaunchEnviron, RankEnviron
from launcher.runtime.process import RankProcess, StepCounter, first_record
from launcher.runtime.status import RankStatus
from launcher.runtime.stop import StopFlag
from launcher.specs import AttemptLayout, RankRecord, RankState, RunLayout, from_json


class SlowVotes(SingleEngine):
    """Two ranks, of which the other one's votes are given."""

    world_size = 2

    def __init__(self, others: list[bool]) -> None:
        self.others = others

    def vote_start(self, flag: bool) -> Any:
        return flag or self.others.pop(0)

    def vote_result(self, vote: Any) -> bool:
        return bool(vote)


def make(
    run_dir: Path | None, engine: Any = None, environ: dict[str, str] | None = None
) -> RankContext:
    variables = {**(environ or {}), **({"LAUNCHER_RUN_DIR": str(run_dir)} if run_dir else {})}
    place, launch = RankEnviron.from_environ(variables), LaunchEnviron.from_environ(variables)
    layout = RunLayout(run_dir).attempt(1) if run_dir else None
    if layout:
        layout.ranks.mkdir(parents=True)
    path = layout.rank_record(place.rank) if layout else None
    status = RankStatus(first_record(place, launch, os.getpid()), path)
    process = RankProcess(
        place=place,
        launch=launch,
        status=status,
        stop=StopFlag(),
        steps=StepCounter(status.count_step),
        layout=layout,
    )
    return RankContext(process, engine or SingleEngine(), torch.device("cpu"))


@pytest.fixture
def layout(tmp_path: Path) -> AttemptLayout:
    return RunLayout(tmp_path / "run").attempt(1)


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[RankContext]:
    ctx = make(tmp_path / "run")
    yield ctx
    ctx.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def log(ctx: RankContext, step: int, loss: float = 0.1 + 0.2) -> None:
    ctx.log_step(
        step=step, total_steps=9, epoch=0.5, loss=loss, lr=1e-4, samples=32, step_time_s=0.5
    )


def test_a_step_is_a_line_of_full_precision_at_once(
    ctx: RankContext, layout: AttemptLayout
) -> None:
    log(ctx, 3)
    (line,) = lines(layout.metrics)
    assert line.pop("at") > 0
    assert line == {
        "step": 3,
        "epoch": 0.5,
        "loss": 0.30000000000000004,
        "lr": 0.0001,
        "samples": 32,
        "step_time_s": 0.5,
        "attempt": 1,
    }


def test_a_step_shows_in_the_next_heartbeat(ctx: RankContext) -> None:
    log(ctx, 3)
    record = ctx._rank.status.record
    assert (record.step, record.total_steps, record.samples_per_s) == (3, 9, 64.0)


def test_only_rank_0_writes_metrics(tmp_path: Path, layout: AttemptLayout) -> None:
    ctx = make(tmp_path / "run", environ={"RANK": "1", "WORLD_SIZE": "2"})
    log(ctx, 1)
    assert not layout.metrics.exists()


def test_an_evaluation_is_a_line_of_its_own(ctx: RankContext, layout: AttemptLayout) -> None:
    ctx.log_eval(step=5, metrics={"accuracy": 0.75})
    (line,) = lines(layout.metrics)
    assert (line["step"], line["eval"]) == (5, {"accuracy": 0.75})


def test_the_result_is_written_as_a_whole(ctx: RankContext, layout: AttemptLayout) -> None:
    ctx.finish({"accuracy": 0.75})
    assert json.loads(layout.result.read_text()) == {"accuracy": 0.75}


def test_leaving_saved_is_told_and_ends_with_code_0(
    ctx: RankContext, layout: AttemptLayout
) -> None:
    with pytest.raises(SystemExit) as left:
        ctx.leave_saved(7)
    assert left.value.code == 0
    record = from_json(RankRecord, layout.rank_record(0).read_bytes())
    assert (record.state, record.committed_step) == (RankState.SAVED, 7)


def test_config_is_read_from_the_run_folder(tmp_path: Path, ctx: RankContext) -> None:
    (tmp_path / "run" / "config.yaml").write_text("train: {lr: 0.5}\n")
    assert ctx.config["train"]["lr"] == 0.5


def test_a_run_without_config_says_how_to_get_one(ctx: RankContext) -> None:
    with pytest.raises(ConfigError, match="no config"):
        _ = ctx.config


def test_an_unknown_staged_name_offers_the_nearest(tmp_path: Path, ctx: RankContext) -> None:
    (tmp_path / "run" / "staged.json").write_text('{"model": "/m", "data": "/d"}')
    assert ctx.staged("model") == Path("/m")
    with pytest.raises(StagingError) as raised:
        ctx.staged("modle")
    assert "did you mean `model`?" in raised.value.hint


@pytest.mark.parametrize("wanted", [True, False])
def test_samples_are_recorded_only_where_the_config_asks(
    tmp_path: Path, ctx: RankContext, layout: AttemptLayout, wanted: bool
) -> None:
    text = f"train: {{record_samples: {str(wanted).lower()}}}\n"
    (tmp_path / "run" / "config.yaml").write_text(text)
    ctx.record_samples(step=1, epoch=0, ids=[4, 2])
    path = layout.rank_samples(0)
    assert (lines(path) if path.exists() else []) == (
        [{"step": 1, "epoch": 0, "ids": [4, 2]}] if wanted else []
    )


def test_without_a_run_folder_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ctx = make(None)
    log(ctx, 1)
    ctx.log_eval(step=1, metrics={})
    ctx.record_samples(step=1, epoch=0, ids=[1])
    ctx.finish({})
    assert list(tmp_path.iterdir()) == []


def test_alone_a_stop_is_seen_at_once(ctx: RankContext) -> None:
    assert ctx.should_stop() is False
    ctx._rank.stop.signal = 15
    assert ctx.should_stop() is True


def test_among_others_a_vote_is_read_one_call_later_and_stays(tmp_path: Path) -> None:
    ctx = make(tmp_path / "run", SlowVotes([False, True, False]), {"RANK": "0", "WORLD_SIZE": "2"})
    assert [ctx.should_stop() for _ in range(4)] == [False, False, True, True]
