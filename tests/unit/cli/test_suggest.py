"""The line to type instead of one for another tool."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from launcher import config
from launcher.cli.arguments import FLAGS, parse
from launcher.cli.verbs import VERBS
from launcher.errors import ConfigError

SCRIPT = "recipe=script script=train.py"


def hint(typed: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(shlex.split(typed), VERBS, ("python", "-m", "launcher"))
    return caught.value.hint


def suggested(typed: str) -> list[str]:
    """Return the words after `python -m launcher` that the hint shows."""
    before, marker, line = hint(typed).partition("type: python -m launcher")
    assert (before, bool(marker)) == ("", True), hint(typed)
    return shlex.split(line)


PROGRAMS = [
    (f"{SCRIPT} --epochs 3", f"{SCRIPT} args=[--epochs,3]"),
    (f"{SCRIPT} --lr=0.1", f"{SCRIPT} args=[--lr=0.1]"),
    (f"{SCRIPT} -- --epochs 3", f"{SCRIPT} args=[--epochs,3]"),
    (f"{SCRIPT} nodes=2 -v --seed -1 data.csv", f"{SCRIPT} nodes=2 args=[-v,--seed,-1]"),
    (f"{SCRIPT} args=[--a,1] --b 2", f"{SCRIPT} args=[--a,1,--b,2]"),
    (f"{SCRIPT} --device cuda", f"{SCRIPT} args=[--device,cuda]"),
    (f"{SCRIPT} --resume", f"{SCRIPT} args=[--resume]"),
    (f"{SCRIPT} --step 3", f"{SCRIPT} args=[--step,3]"),
    ("script=train.py --epochs 3", f"{SCRIPT} args=[--epochs,3]"),
    ("--epochs 3", f"{SCRIPT} args=[--epochs,3]"),
    ("-- --epochs 3", f"{SCRIPT} args=[--epochs,3]"),
    ("train.py", SCRIPT),
    ("train.py --epochs 3", f"{SCRIPT} args=[--epochs,3]"),
    ("train.py a lr=3 nodes=2", f"{SCRIPT} nodes=2 args=[a,lr=3]"),
    ("run train.py", f"run {SCRIPT}"),
    ("run sub/train.py --x", "run recipe=script script=sub/train.py args=[--x]"),
    ("plan --json train.py --x", f"plan --json {SCRIPT} args=[--x]"),
    ("python -u train.py", SCRIPT),
]
TOOLS = [
    ("recipe bert_finetune", "recipe=bert_finetune"),
    ("plan recipe bert_finetune nodes 4", "plan recipe=bert_finetune nodes=4"),
    (f"{SCRIPT} nodes = 4", f"{SCRIPT} nodes=4"),
    (f"{SCRIPT} nodes= 4", f"{SCRIPT} nodes=4"),
    (f"{SCRIPT} nodes =4", f"{SCRIPT} nodes=4"),
    (f"{SCRIPT} --nodes=4", f"{SCRIPT} nodes=4"),
    (f"{SCRIPT} -N 4", f"{SCRIPT} nodes=4"),
    (f"{SCRIPT} -n 4", f"{SCRIPT} slots=4"),
    (f"{SCRIPT} --storage.root /x", f"{SCRIPT} storage.root=/x"),
    ("recipe=bert_finetune --epochs 3", "recipe=bert_finetune train.epochs=3"),
    ("recipe=bert_finetune --device cpu", "recipe=bert_finetune device=cpu"),
    ("resume my-run --epochs 5", "resume my-run train.epochs=5"),
    ("resume my-run --nodes 2", "resume my-run nodes=2"),
    ("--nproc_per_node=4 train.py", f"{SCRIPT} slots=4"),
    ("--standalone --nproc-per-node gpu train.py", f"{SCRIPT} slots=auto"),
    ("torchrun --nnodes=1:4 train.py", f"{SCRIPT} nodes=4 cluster.min_nodes=1"),
    ("--rdzv_backend c10d --rdzv-endpoint=h:1 --node_rank 1 train.py", SCRIPT),
    ("accelerate launch --num_processes 8 --num_machines 2 train.py", f"{SCRIPT} nodes=2 slots=4"),
    ("deepspeed --num_gpus=4 train.py --deepspeed d", f"{SCRIPT} slots=4 args=[--deepspeed,d]"),
    ("-np 2 python train.py", f"{SCRIPT} slots=2"),
    (
        "-np 8 -H a:4,b:4 python train.py",
        f"{SCRIPT} cluster=hostfile cluster.hosts=[a:4,b:4]",
    ),
    ("--hostfile f", f"{SCRIPT} cluster=hostfile cluster.hostfile=f"),
    ("-f hosts train.py", f"{SCRIPT} cluster=hostfile cluster.hostfile=hosts"),
    ("mpirun -x NCCL_DEBUG=INFO train.py", f"{SCRIPT} env.NCCL_DEBUG=INFO"),
    ("doctor --hostfile f", "doctor cluster=hostfile cluster.hostfile=f"),
    ("--standalone", SCRIPT),
    (
        "sbatch -N 4 -p gpu --time=60 train.py",
        f"{SCRIPT} cluster=slurm nodes=4 cluster.slurm.partition=gpu cluster.slurm.time=60",
    ),
]


@pytest.mark.parametrize(("typed", "expected"), [*PROGRAMS, *TOOLS])
def test_the_answer_is_the_line_to_type_with_the_words_of_the_user(
    typed: str, expected: str
) -> None:
    if "data.csv" in typed:
        expected = expected.replace("-1]", "-1,data.csv]")
    assert suggested(typed) == expected.split(" ")


@pytest.mark.parametrize(("typed", "expected"), [*PROGRAMS, *TOOLS])
def test_the_launcher_accepts_the_line_that_it_suggests(
    typed: str, expected: str, tmp_path: Path
) -> None:
    del expected
    found = parse(suggested(typed), VERBS)
    config.load(found.overrides, cwd=tmp_path, require_recipe=found.verb in ("run", "plan"))


@pytest.mark.parametrize(
    "args", [["a b"], ["a,b", "1e-4", "true"], ["[x]"], ["it's"], ['say "x"'], ["{}"], [""], ["é"]]
)
def test_every_argument_arrives_as_it_was_typed(args: list[str], tmp_path: Path) -> None:
    found = parse(suggested(shlex.join(["train.py", "--x", *args])), VERBS)
    assert config.load(found.overrides, cwd=tmp_path).args == ("--x", *args)


@pytest.mark.parametrize(
    ("typed", "offers"),
    [
        ("--jsn plan", "did you mean `--json`?"),
        ("logs --rnak 0", "did you mean `--rank`?"),
        ("status --follw", "did you mean `--follow`?"),
        ("pln", "did you mean `plan`?"),
        ("plan my-run", "run_id=my-run"),
        ("my-run-17", "key=value"),
    ],
)
def test_a_typo_is_answered_with_the_nearest_name_instead(typed: str, offers: str) -> None:
    assert offers in hint(typed)
    assert "type:" not in hint(typed)


def test_flags_of_the_launcher_stay_flags() -> None:
    typed = "plan --config-dir my/conf -cd other train.py -m train.seed=1,2"
    assert suggested(typed)[:5] == ["plan", "--config-dir", "my/conf", "-cd", "other"]
    assert {name for flag in FLAGS for name in flag.names} >= {"--config-dir", "-cd"}
