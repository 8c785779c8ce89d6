"""`-m`: one run for every combination of the values, one at a time."""

from __future__ import annotations

import dataclasses
import os

from launcher import config, launch, units
from launcher.cli import batch, messages, printing
from launcher.cli.arguments import Invocation
from launcher.cli.context import command_line, config_dirs, repeat
from launcher.cli.verbs.run import run_here
from launcher.config import paths, sweep
from launcher.errors import LauncherError
from launcher.specs.secrets import hide
from launcher.supervise import Verdict

_STOPS = (75, 130)
"""Exit codes that end the sweep: the user or the machine stopped the run."""


def expanded(invocation: Invocation) -> list[tuple[str, ...]]:
    """Return the overrides of every run."""
    groups = paths.find(config_dirs(invocation)).groups()
    return sweep.expand(invocation.overrides, groups)


def main(invocation: Invocation) -> int:
    """Run them all, also after one has failed. Return the exit code of the first that failed."""
    every = expanded(invocation)
    differing = [_what(texts) for texts in sweep.varying(every)]
    for overrides in every:  # a typo in the last one must not show after hours
        config.load(overrides, config_dirs=config_dirs(invocation))
    rows: list[tuple[int, str, str]] = []
    for number, (overrides, what) in enumerate(zip(every, differing, strict=True), start=1):
        printing.out(f"--- run {number} of {len(every)}: {what}", flush=True)
        rows.append(_one(invocation, overrides, number))
        if rows[-1][0] in _STOPS:
            break
    _print_table(differing, rows)
    return next((code for code, _, _ in rows if code), 0)


def _what(texts: tuple[str, ...]) -> str:
    """Return the overrides that differ between runs; `run_id` has a column of its own."""
    own = (text for text in texts if not text.startswith("run_id="))
    return " ".join(config.repeatable(own, os.environ)) or "-"


def _one(invocation: Invocation, overrides: tuple[str, ...], number: int) -> tuple[int, str, str]:
    commands = command_line(invocation)
    try:
        loaded = config.load(overrides, config_dirs=config_dirs(invocation))
        loaded = launch.numbered(loaded, number)
        if launch.submits(loaded):
            submitted = batch.submit(loaded, commands)
            job = f"job {submitted.job_id}" if submitted.job_id else ""
            return submitted.exit_code, submitted.run_id, job
        again = repeat(dataclasses.replace(invocation, overrides=overrides))
        outcome = run_here(loaded, commands, again=again)
    except LauncherError as error:
        messages.show(error)
        return error.exit_code, "-", hide(error.message, os.environ)
    shown = ", ".join(
        f"{name} {units.value(each)}"
        for name, each in outcome.result.items()
        if isinstance(each, int | float)
    )
    if outcome.state is Verdict.FAILED and outcome.first_failure:
        shown = outcome.first_failure.sentence
    return outcome.exit_code, outcome.run_id, shown


def _print_table(differing: list[str], rows: list[tuple[int, str, str]]) -> None:
    from launcher.cli.display import tables

    table = tables.table("", "exit", "run", "result", right=("exit",))
    for what, (code, run_id, shown) in zip(differing, rows, strict=False):
        tables.add(table, what, code, run_id, shown)
    for what in differing[len(rows) :]:
        tables.add(table, what, "-", "-", "not started")
    printing.out()
    tables.show(table)
