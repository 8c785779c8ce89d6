"""`checkpoints ls|verify|export`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from launcher import checkpoint, units
from launcher.cli import printing
from launcher.cli.arguments import Invocation
from launcher.cli.context import command_line, run_folder
from launcher.errors import ConfigError, UnknownNameError
from launcher.runs.records import read_object
from launcher.specs import RunLayout
from launcher.storage import expand_home


def checkpoints(invocation: Invocation) -> int:
    """Run the command named by the first word, on the run named by the second."""
    what, *rest = invocation.words or ("ls",)
    if what not in _ACTIONS:
        raise UnknownNameError("checkpoints command", what, _ACTIONS)
    layout = run_folder(invocation, words=tuple(rest))
    return _ACTIONS[what](layout, invocation)


def _ls(layout: RunLayout, invocation: Invocation) -> int:
    from launcher.cli.display import tables

    commits = checkpoint.list_commits(layout.checkpoints)
    if invocation.has("json"):
        rows = [
            {
                "step": each.step,
                "generation": each.generation,
                "created_at": each.created_at,
                "world_size": each.world_size,
                "size_bytes": each.size_bytes,
                "superseded": each.superseded,
                "problem": each.problem,
                "data": str(each.data) if each.data else None,
            }
            for each in commits
        ]
        printing.raw(json.dumps(rows, indent=2))
        return 0
    if not commits:
        printing.out(f"{layout.run_id} has no checkpoint yet")
        return 0
    titles = ("step", "attempt", "written", "ranks", "size", "")
    table = tables.table(*titles, right=("step", "attempt", "ranks", "size"))
    for each in commits:
        written, size = units.moment(each.created_at), units.size(each.size_bytes)
        note = each.problem or ("left behind by a restart" if each.superseded else "")
        tables.add(table, each.step, each.generation, written, each.world_size, size, note)
    tables.show(table)
    return 0


def _verify(layout: RunLayout, invocation: Invocation) -> int:
    commits = checkpoint.list_commits(layout.checkpoints)
    if not commits:
        raise ConfigError(
            f"{layout.run_id} has no checkpoint yet", hint="verify it after the first save"
        )
    step = invocation.number("step")
    findings = checkpoint.verify(layout.checkpoints, step)
    if not findings:
        which = f"step {step}" if step is not None else units.count(len(commits), "checkpoint")
        printing.out(f"{which} verified, no corruption found")
        return 0
    for finding in findings:
        printing.out(str(finding))
    return 5


def _export(layout: RunLayout, invocation: Invocation) -> int:
    where = (*invocation.values("to"), "")[0]
    if not where:
        line = command_line(invocation)
        command = line.of_run(layout, "checkpoints", "export", options=["--to", "./model"])
        raise ConfigError("`checkpoints export` needs a folder to write to", hint=f"`{command}`")
    destination = Path(expand_home(where, "--to")).absolute()
    step = invocation.number("step")
    checkpoint.export(layout.checkpoints, step, destination, template=_staged_model(layout))
    printing.out(f"exported to {destination}; load it with `from_pretrained`")
    return 0


def _staged_model(layout: RunLayout) -> Path | None:
    """The folder of the original model: an export includes its tokenizer."""
    folder = read_object(layout.staged).get("model")
    return Path(folder) if isinstance(folder, str) and Path(folder).is_dir() else None


_ACTIONS: Mapping[str, Callable[[RunLayout, Invocation], int]] = MappingProxyType(
    {"ls": _ls, "verify": _verify, "export": _export}
)
