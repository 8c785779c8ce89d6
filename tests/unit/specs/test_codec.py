"""Specs round-trip through JSON; other content is refused."""

import json

import pytest

from launcher.specs import (
    CheckpointPolicy,
    Cluster,
    Command,
    Node,
    Plan,
    Program,
    RankException,
    RankRecord,
    RankState,
    Rendezvous,
    StageItem,
    from_json,
    to_json,
)

PLAN = Plan(
    run_id="r",
    attempt=2,
    recipe="script",
    storage_root="/data",
    cluster=Cluster(
        source="local",
        nodes=(Node(node_rank=0, name="local0", address="127.0.0.1", slots=2, gpus=("0", "1")),),
    ),
    backend="torchrun",
    transport="local",
    python="python3",
    device="cuda",
    program=Program(path="/x y.py", args=("--a b", "$(c)", "é\n")),
    rendezvous=Rendezvous(address="127.0.0.1", port=20_001),
    stage=(StageItem(name="m", uri="file:///m", needs=("d",), options={"a": "b"}),),
    checkpoint=CheckpointPolicy(every_steps=5, keep=2, resume="auto"),
    commands=(Command(node_rank=0, argv=("a", "b c"), env={"X": "1"}, cwd="/"),),
    notes=("because",),
)

RECORD = RankRecord(
    rank=3,
    local_rank=1,
    node_rank=1,
    node="n",
    host="h",
    pid=7,
    attempt=1,
    state=RankState.FAILED,
    started_at=1.0,
    heartbeat_at=2.5,
    progress_at=2.0,
    phase_seconds={"train": 1.5},
    exception=RankException(at=2.0, kind="ValueError", message="m", traceback="t"),
)


@pytest.mark.parametrize("value", [PLAN, RECORD], ids=["plan", "rank record"])
def test_a_value_round_trips_through_json(value: Plan | RankRecord) -> None:
    assert from_json(type(value), to_json(value)) == value


def test_an_unknown_key_of_a_newer_version_is_ignored() -> None:
    document = json.loads(to_json(RECORD)) | {"invented_later": 1}
    assert from_json(RankRecord, json.dumps(document)) == RECORD


def test_a_missing_optional_key_takes_its_default() -> None:
    document = json.loads(to_json(RECORD))
    del document["exception"]
    assert from_json(RankRecord, json.dumps(document)).exception is None


def test_a_whole_number_is_a_float_where_one_is_due() -> None:
    document = json.loads(to_json(RECORD)) | {"started_at": 4}
    assert isinstance(from_json(RankRecord, json.dumps(document)).started_at, float)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '{"rank": "three"}',
        "not json",
        '{"rank": true}',
        '{"phase_seconds": [1]}',
    ],
)
def test_text_of_another_shape_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_json(RankRecord, text)
