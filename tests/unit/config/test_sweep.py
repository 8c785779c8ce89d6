"""`-m` to runs."""

from __future__ import annotations

import pytest

from launcher.config.sweep import expand, varying
from launcher.errors import ConfigError

GROUPS = {"model": ("bert_base", "bert_tiny", "minilm"), "recipe": ("script",)}


def test_every_combination_comes_once_with_the_last_key_fastest() -> None:
    assert expand(["recipe=script", "train.lr=1e-4,2e-4", "nodes=1,2"], GROUPS) == [
        ("recipe=script", "train.lr=0.0001", "nodes=1"),
        ("recipe=script", "train.lr=0.0001", "nodes=2"),
        ("recipe=script", "train.lr=0.0002", "nodes=1"),
        ("recipe=script", "train.lr=0.0002", "nodes=2"),
    ]


def test_hydras_grammar_of_values_is_understood() -> None:
    assert [each for (each,) in expand(["train.seed=range(1,4)"], GROUPS)] == [
        *("train.seed=1", "train.seed=2", "train.seed=3"),
    ]
    assert [each for (each,) in expand(["model=choice(minilm,bert_tiny)"], GROUPS)] == [
        *("model=minilm", "model=bert_tiny"),
    ]
    assert [each for (each,) in expand(["model=glob(bert_*)"], GROUPS)] == [
        *("model=bert_base", "model=bert_tiny"),
    ]
    assert [each for (each,) in expand(["model=hf://a/b,s3://c/d"], GROUPS)] == [
        *("model=hf://a/b", "model=s3://c/d"),
    ]


def test_a_list_is_one_value() -> None:
    assert expand(["args=[--x,1]"], GROUPS) == [("args=[--x,1]",)]


def test_lists_can_be_swept_over() -> None:
    runs = expand(["args=[a,'b c'],[d]"], GROUPS)
    assert runs == [("args=[a,'b c']",), ("args=[d]",)]


def test_what_is_not_swept_stays_as_typed() -> None:
    assert expand(["args=[--lr,1e-4]", "nodes=1,2"], GROUPS)[0] == ("args=[--lr,1e-4]", "nodes=1")


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("env.X=1_000,2.10", ["1_000", "2.10"]),
        ("env.X=choice(true,null)", ["true", "null"]),
        ("++env.X=007, 1e3", ["007", "1e3"]),
        ("env.X='a,b',c", ["'a,b'", "c"]),
        ("args=[--k,[0,1]],[it's]", ["[--k,[0,1]]", "[it's]"]),
        ("script=a(1).py,{b}.py", ["a(1).py", "{b}.py"]),
        ("cluster.slurm.array=1,3", ["1,3"]),
        ("cluster.slurm.mem=choice(8G,16G)", ["8G", "16G"]),
    ],
)
def test_text_is_swept_as_typed(typed: str, values: list[str]) -> None:
    key = typed.partition("=")[0]
    assert expand([typed], GROUPS) == [(f"{key}={value}",) for value in values]


def test_a_given_run_id_is_numbered() -> None:
    runs = expand(["run_id=mine", "nodes=1,2"], GROUPS)
    assert [run[0] for run in runs] == ["run_id=mine-1", "run_id=mine-2"]
    ids = [run[0] for run in expand(["run_id='mine'", "nodes=range(1,12)"], GROUPS)]
    assert (ids[0], ids[-1]) == ("run_id='mine-01'", "run_id='mine-11'")


def test_a_swept_run_id_is_taken_as_it_is() -> None:
    assert expand(["run_id=a,b"], GROUPS) == [("run_id=a",), ("run_id=b",)]


def test_what_has_no_values_to_list_is_refused() -> None:
    for text in (
        "train.lr=interval(0,1)",
        "model=glob(nothing*)",
        "env.X=choice()",
        "env.X=range(4,1)",
    ):
        with pytest.raises(ConfigError, match="expected a list of values"):
            expand([text], GROUPS)


def test_only_what_differs_tells_runs_apart() -> None:
    runs = expand(["recipe=script", "nodes=1,2"], GROUPS)
    assert varying(runs) == [("nodes=1",), ("nodes=2",)]
    assert varying([("a=1",)]) == [()]
