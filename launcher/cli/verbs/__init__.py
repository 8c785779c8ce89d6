"""The verbs: each is a module with a `main`, imported when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, cast

from launcher.cli.arguments import Invocation


@dataclass(frozen=True, kw_only=True)
class Verb:
    """What the help says about a verb, and where it is."""

    module: str
    summary: str
    usage: str
    examples: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


class VerbModule(Protocol):
    """A verb is one function, because it has no state between two commands."""

    def main(self, invocation: Invocation) -> int:
        """Do it and return the exit code.

        Raises:
            LauncherError: the person made a mistake, or what they asked for failed.
        """
        ...


def _verb(name: str, summary: str, usage: str, *examples: str) -> Verb:
    module = f"launcher.cli.verbs.{name}"
    return Verb(module=module, summary=summary, usage=usage, examples=examples)


VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "run": _verb(
            "run",
            "plan, check, stage, train; goes on with a run that is there",
            "[run] KEY=VALUE ...",
            "recipe=bert_finetune nodes=4",
            "recipe=script script=train.py 'args=[--epochs,3]' nodes=2",
            "-m recipe=bert_finetune train.lr=1e-4,2e-4 train.seed='range(1,4)'",
            "cluster=slurm recipe=bert_finetune nodes=4 cluster.wait=true",
        ),
        "plan": _verb(
            "plan",
            "print everything that would be run, and stop",
            "plan [--json] KEY=VALUE ...",
            "plan recipe=bert_finetune nodes=4",
            "plan recipe=bert_finetune nodes=4 --json | jq .commands[0].argv",
        ),
        "doctor": _verb(
            "doctor",
            "find out what is wrong with the nodes, without training on them",
            "doctor [--json] KEY=VALUE ...",
            "doctor cluster=hostfile cluster.hostfile=hosts.txt",
            "doctor",
        ),
        "stage": _verb(
            "stage",
            "bring model and data in place, and stop",
            "stage KEY=VALUE ...",
            "stage recipe=bert_finetune model=hf://google-bert/bert-base-uncased",
        ),
        "status": _verb(
            "status",
            "how a run stands, one line per node",
            "status [RUN] [--follow] [--json]",
            "status",
            "status my-run --follow",
        ),
        "logs": _verb(
            "logs",
            "what the ranks printed",
            "logs [RUN] [--rank N] [--node N] [--tail N] [--follow]",
            "logs --rank 0 --follow",
            "logs my-run --node 1 --tail 50",
        ),
        "why": _verb(
            "why",
            "what broke first in a run, where, and what to do",
            "why [RUN]",
            "why my-run",
        ),
        "stop": _verb(
            "stop",
            "let a run save and leave, from anywhere",
            "stop [RUN]",
            "stop my-run",
        ),
        "resume": _verb(
            "resume",
            "go on with a run from its newest checkpoint",
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
"""Name -> what it is; in the order of the help."""


def load(name: str) -> VerbModule:
    """Import the module of a verb."""
    return cast(VerbModule, importlib.import_module(VERBS[name].module))
