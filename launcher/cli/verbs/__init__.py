"""The verbs. Each is a function with the name of the verb, in a module that is imported on use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from launcher.cli.arguments import Invocation

VerbFunction = Callable[[Invocation], int]
"""Does its work and returns the exit code; raises LauncherError for what failed."""


@dataclass(frozen=True, kw_only=True)
class Verb:
    """What the help says about a verb, and where its function is."""

    module: str
    summary: str
    usage: str
    examples: tuple[str, ...] = ()


def _verb(module: str, summary: str, usage: str, *examples: str) -> Verb:
    return Verb(
        module=f"launcher.cli.verbs.{module}", summary=summary, usage=usage, examples=examples
    )


VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "run": _verb(
            "run",
            "plan, check, stage, train; resumes the run if it already exists",
            "[run] KEY=VALUE ...",
            "recipe=bert_finetune nodes=4",
            "recipe=script script=train.py 'args=[--epochs,3]' nodes=2",
            "recipe=script module=pkg.train nodes=2",
            "-m recipe=bert_finetune train.lr=1e-4,2e-4 train.seed='range(1,4)'",
            "cluster=slurm recipe=bert_finetune nodes=4 cluster.wait=true",
        ),
        "plan": _verb(
            "prepare",
            "print every command and variable that would be used, and exit",
            "plan [--json] KEY=VALUE ...",
            "plan recipe=bert_finetune nodes=4",
            "plan recipe=bert_finetune nodes=4 --json | jq .commands[0].argv",
        ),
        "doctor": _verb(
            "doctor",
            "find problems with the nodes, without training",
            "doctor [--json] KEY=VALUE ...",
            "doctor cluster=hostfile cluster.hostfile=hosts.txt",
            "doctor",
        ),
        "stage": _verb(
            "prepare",
            "download or build the model and the data, and exit",
            "stage KEY=VALUE ...",
            "stage recipe=bert_finetune model=hf://google-bert/bert-base-uncased",
        ),
        "status": _verb(
            "runs",
            "the state of a run, one line per node",
            "status [RUN] [--follow] [--json]",
            "status",
            "status my-run --follow",
        ),
        "logs": _verb(
            "runs",
            "the output of the ranks",
            "logs [RUN] [--rank N] [--node N] [--tail N] [--follow]",
            "logs --rank 0 --follow",
            "logs my-run --node 1 --tail 50",
        ),
        "why": _verb(
            "runs",
            "the root cause of a failure, where it happened, and what to do",
            "why [RUN]",
            "why my-run",
        ),
        "stop": _verb(
            "runs",
            "stop a run gracefully, from any machine; saves a checkpoint",
            "stop [RUN]",
            "stop my-run",
        ),
        "resume": _verb(
            "run",
            "continue a run from its newest checkpoint",
            "resume [RUN] KEY=VALUE ...",
            "resume my-run",
            "resume my-run nodes=2",
        ),
        "checkpoints": _verb(
            "checkpoints",
            "list, verify or export the checkpoints of a run",
            "checkpoints ls|verify|export [RUN] [--step N] [--to DIR]",
            "checkpoints ls my-run",
            "checkpoints verify my-run",
            "checkpoints export my-run --to ./model",
        ),
    }
)
"""Name -> verb, in the order of the help."""


def load(name: str) -> VerbFunction:
    """Import and return the function of a verb."""
    function: VerbFunction = getattr(importlib.import_module(VERBS[name].module), name)
    return function
