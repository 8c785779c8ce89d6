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
MPI = f"{SCRIPT} cluster=hostfile backend=mpi"
HVD = f"{SCRIPT} cluster=hostfile backend=horovod"


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
    (f"{SCRIPT} nodes=2 -v --seed -1 data.csv", f"{SCRIPT} nodes=2 args=[-v,--seed,-1,data.csv]"),
    (f"{SCRIPT} args=[--a,1] --b 2", f"{SCRIPT} args=[--a,1,--b,2]"),
    (f"{SCRIPT} --device cuda", f"{SCRIPT} args=[--device,cuda]"),
    (f"{SCRIPT} --resume", f"{SCRIPT} args=[--resume]"),
    (f"{SCRIPT} --step 3", f"{SCRIPT} args=[--step,3]"),
    ("script=train.py --epochs 3", f"{SCRIPT} args=[--epochs,3]"),
    ("-- --epochs 3", f"{SCRIPT} args=[--epochs,3]"),
    ("train.py", SCRIPT),
    ("train.py --epochs 3", f"{SCRIPT} args=[--epochs,3]"),
    ("train.py a lr=3 nodes=2", f"{SCRIPT} args=[a,lr=3,nodes=2]"),
    ("train.py --version", f"{SCRIPT} args=[--version]"),
    ("nodes=2 train.py model=bert nodes=3", f"{SCRIPT} nodes=2 args=[model=bert,nodes=3]"),
    (f"{SCRIPT} nodes=2 -- nodes=3 -m", f"{SCRIPT} nodes=2 args=[nodes=3,-m]"),
    (f"{SCRIPT} -t 5", f"{SCRIPT} args=[-t,5]"),
    (f"{SCRIPT} --time 5 --mem 3", f"{SCRIPT} args=[--time,5,--mem,3]"),
    (f"{SCRIPT} -n 10 -p 3", f"{SCRIPT} args=[-n,10,-p,3]"),
    (f"{SCRIPT} --host a --port 80", f"{SCRIPT} args=[--host,a,--port,80]"),
    (f"{SCRIPT} --seed 1 -N 5", f"{SCRIPT} args=[--seed,1,-N,5]"),
    (f"{SCRIPT} --x 1", f"{SCRIPT} args=[--x,1]"),
    (f"{SCRIPT} --nodes=4", f"{SCRIPT} args=[--nodes=4]"),
    (f"{SCRIPT} data lr=3", f"{SCRIPT} args=[data,lr=3]"),
    ("recipe=script module=a.b -x 3", "recipe=script module=a.b args=[-x,3]"),
    ("-m a.b --n 3 nodes=2", "recipe=script module=a.b args=[--n,3,nodes=2]"),
    ("python3.11 -m a.b -c", "recipe=script module=a.b args=[-c]"),
    ("/usr/bin/python3 train.py -W", f"{SCRIPT} args=[-W]"),
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
    ("--nodes=4 train.py", f"{SCRIPT} nodes=4"),
    ("-n 4 train.py", f"{SCRIPT} slots=4"),
    ("--storage.root /x train.py", f"{SCRIPT} storage.root=/x"),
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
    ("-x NCCL_DEBUG=INFO train.py", f"{SCRIPT} env.NCCL_DEBUG=INFO"),
    ("mpirun -x HOME train.py", f"{SCRIPT} backend=mpi env.HOME=${{oc.env:HOME}}"),
    ("mpirun -np 8 -N 4 -H a,b train.py", f"{MPI} slots=4 cluster.hosts=[a,b]"),
    ("mpirun -np 4 -H a,b train.py", f"{MPI} cluster.hosts=[a,b] slots=2"),
    ("mpirun -N 2 -H a,b train.py", f"{MPI} slots=2 cluster.hosts=[a,b]"),
    ("mpirun -H a:1,b:2 train.py", f"{MPI} cluster.hosts=[a:1,b:2]"),
    (
        f"cluster=hostfile cluster.hosts=[a,b] {SCRIPT} -x",
        f"cluster=hostfile cluster.hosts=[a,b] {SCRIPT} args=[-x]",
    ),
    ("mpirun -N 2 train.py", f"{SCRIPT} backend=mpi slots=2"),
    (
        "mpirun --allow-run-as-root --oversubscribe --bind-to none -map-by slot -n 2 train.py",
        f"{SCRIPT} backend=mpi slots=2",
    ),
    ("horovodrun --gloo --verbose -np 2 train.py", f"{SCRIPT} backend=horovod slots=2"),
    ("horovodrun -np 3 -H a:2,b:1 train.py", f"{HVD} cluster.hosts=[a:2,b:1]"),
    ("deepspeed -H hosts train.py", f"{SCRIPT} cluster=hostfile cluster.hostfile=hosts"),
    ("torchrun --tee 3 --redirects=3 --role x train.py", SCRIPT),
    (
        "torchrun --nproc_per_node 2 train.py model=bert nodes=3",
        f"{SCRIPT} slots=2 args=[model=bert,nodes=3]",
    ),
    ("-m torch.distributed.run --nproc_per_node 2 train.py -m", f"{SCRIPT} slots=2 args=[-m]"),
    ("python -m torch.distributed.launch --nnodes 2 train.py", f"{SCRIPT} nodes=2"),
    ("python -m accelerate.commands.launch --num_processes 2 train.py", f"{SCRIPT} slots=2"),
    ("torchrun --nproc_per_node 2 -m a.b 3", "recipe=script module=a.b slots=2 args=[3]"),
    ("srun --pty -N 2 -n 4 python -u train.py", f"{SCRIPT} cluster=slurm nodes=2 slots=2"),
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
    assert suggested(typed) == expected.split(" ")


@pytest.mark.parametrize(("typed", "expected"), [*PROGRAMS, *TOOLS])
def test_the_launcher_accepts_the_line_that_it_suggests(
    typed: str, expected: str, tmp_path: Path
) -> None:
    del expected
    found = parse(suggested(typed), VERBS)
    config.load(found.overrides, cwd=tmp_path, require_recipe=found.verb in ("run", "plan"))


@pytest.mark.parametrize(
    "args",
    [
        ["a b"],
        ["a,b", "1e-4", "true"],
        ["[x]"],
        ["it's"],
        ['say "x"'],
        ["{}"],
        [""],
        ["é"],
        ["${x}"],
        ["\\${x}"],
        ["a\\"],
    ],
)
def test_every_argument_arrives_as_it_was_typed(args: list[str], tmp_path: Path) -> None:
    found = parse(suggested(shlex.join(["train.py", "--x", *args])), VERBS)
    assert config.load(found.overrides, cwd=tmp_path).args == ("--x", *args)


@pytest.mark.parametrize(
    "typed",
    [
        "--epochs 3",
        "--config_file c.yaml train.py",
        "accelerate launch --mixed_precision fp16 train.py",
        "accelerate launch --use_deepspeed train.py",
        "deepspeed --include a:0 train.py",
        "deepspeed --exclude a:0 train.py",
        "mpirun -mca a b train.py",
        "mpirun -ppn 2 train.py",
        "mpirun -x HF_TOKEN train.py",
        "mpirun -x 'A*' train.py",
        "mpirun -map-by node train.py",
        "mpirun -np 1 a.py : -np 2 b.py",
        "mpirun -np 1 python a.py : -np 2 python b.py",
        "mpirun -np 3 -H a:4,b:4 train.py",
        "mpirun -H a:4,b train.py",
        "mpirun -np 0 train.py",
        "nodes=auto -np 4 train.py",
        "cluster=slurm -np 4 train.py",
        "cluster.hosts=[a,b] -np 4 train.py",
        "--num_machines 2 -np 4 -H a,b train.py",
        "mpirun -np 3 -H a,b train.py",
        "mpirun -np 2 -H a,a train.py",
        "mpirun -H a,b train.py",
        "mpirun -np 8 --hostfile f train.py",
        "mpirun -np 8 -N 3 -H a,b train.py",
        "mpirun -np 8 -N 2 train.py",
        "horovodrun -np 2 -p 22 train.py",
        "python -W ignore train.py",
        "python -O train.py",
        "python -c 8",
        "torchrun --no-python train.py",
        "torchrun --nproc_per_node auto train.py",
        "torchrun --nproc_per_node cpu train.py",
        "torchrun --version",
        "accelerate launch --num_processes 3 --num_machines 2 train.py",
        "sbatch -N2 -n4 train.py",
        "sbatch -c 8 train.py",
        "sbatch -n 4 train.py",
        "sbatch -N 2-4 train.py",
        "sbatch -w a,b train.py",
        "sbatch --nodelist=a train.py",
        "sbatch --extra x train.py",
        "sbatch --job-name x train.py",
        "sbatch --wrap 'python train.py'",
        "-N 2 train.py",
        "-t 5 train.py",
        "NCCL_DEBUG=INFO train.py",
        "--lr 1 script=train.py",
        "script=train.py --lr 1 nodes=2",
        "script=train.py --lr 1 --config-dir c",
        "recipe=bert_finetune -- --lr 1",
        "recipe=bert_finetune train.py",
        "resume my-run -- --lr 1",
        "-m launcher recipe=script",
    ],
)
def test_an_uncertain_word_gives_no_line(typed: str) -> None:
    assert "type:" not in hint(typed)


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
