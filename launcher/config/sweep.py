"""`-m`: turns a command line with several values into one command line per run."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from hydra.core.override_parser.types import Glob, QuotedString, Transformer

from launcher.config.overrides import Groups, parse
from launcher.config.rewrite import holds_text, rewrite, swept
from launcher.errors import ConfigError
from launcher.runs.command_line import quoted

_PLAIN = re.compile(r"[\w./:@+=-]+")


def expand(overrides: Sequence[str], groups: Groups) -> list[tuple[str, ...]]:
    """Return the overrides of each run of a sweep; the last key varies fastest.

    If `run_id` is set, each run appends its number, so that the same command resumes the same runs.

    Raises:
        ConfigError: an override does not follow Hydra's grammar, or cannot be listed.
    """
    axes = [_values(override, groups) for override in overrides]
    runs = list(itertools.product(*axes))
    sweeps_run_id = any(
        text.startswith("run_id=") and axis != [text]
        for text, axis in zip(overrides, axes, strict=True)
    )
    if len(runs) == 1 or sweeps_run_id:
        return runs
    return [_with_number(run, number, len(runs)) for number, run in enumerate(runs, start=1)]


def varying(runs: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return for each run the overrides that not all runs share."""
    common = set.intersection(*(set(run) for run in runs)) if runs else set()
    return [tuple(text for text in run if text not in common) for run in runs]


def _values(text: str, groups: Groups) -> list[str]:
    key = text.partition("=")[0]
    values = swept(text) if holds_text(text) else _typed_values(text, groups)
    if values == []:
        raise ConfigError(
            f"`{text}`: expected a list of values",
            hint=f"list them: `{key}=a,b`, or count: `{key}=range(1,4)`",
        )
    return [text] if values is None else [f"{key}={value}" for value in values]


def _typed_values(text: str, groups: Groups) -> list[str] | None:
    """Return the values that Hydra reads, None for a single value."""
    override, *source = parse(rewrite([text]))
    if source or not override.is_sweep_override():
        return None
    value: object = override.value()  # Hydra's annotation omits Glob
    if isinstance(value, Glob):
        return list(value.filter(list(groups.get(override.key_or_group, ()))))
    if override.is_discrete_sweep():
        return [_as_typed(each) for each in override.sweep_iterator(Transformer.identity)]
    return []


def _as_typed(value: object) -> str:
    """Return a value as it is typed. Hydra's own conversion puts a backslash before `://`."""
    if isinstance(value, str) and not isinstance(value, QuotedString):
        return value if _PLAIN.fullmatch(value) else quoted(value)
    return str(Transformer.str(value))  # type: ignore[arg-type]  # Hydra's conversion for the rest


def _with_number(run: Sequence[str], number: int, runs: int) -> tuple[str, ...]:
    suffix = f"-{number:0{len(str(runs))}d}"
    return tuple(
        text.rstrip("'\"") + suffix + text[len(text.rstrip("'\"")) :]
        if text.startswith("run_id=")
        else text
        for text in run
    )
