"""`--help`, for 80 columns. It lists the choices that the configuration folders contain."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from launcher import __version__, units
from launcher.cli.arguments import Flag, Invocation, flags_of
from launcher.cli.verbs import VERBS
from launcher.config import installed, paths
from launcher.config.keys import GROUPS, Key, all_keys
from launcher.errors import LauncherError

_WIDTH = 80
_CONFIGURED = ("run", "plan", "doctor", "stage", "resume")
"""Verbs that accept every key; the others accept those that select a run."""

_NAMES = (
    "recipe= nodes= slots= cluster= backend= device= storage.root= run_id= resume= model= data= "
    "train.max_steps= train.epochs= train.batch_size= train.lr= train.seed= "
    "checkpoint.every_steps= checkpoint.keep="
)
_EXIT_CODES = (
    (0, "done"),
    (1, "a bug in the launcher"),
    (2, "invalid command line or configuration, or a missing engine"),
    (3, "a check failed; nothing was started"),
    (4, "the model, the data or the code could not be staged"),
    (5, "training failed, or a checkpoint is corrupt"),
    (75, "preempted: checkpoint saved, requeue"),
    (76, "failed; restarting will not help"),
    (130, "stopped by you"),
)


def overview(invocation: Invocation) -> str:
    """Return the page of `launcher --help`."""
    me = units.shell_line(invocation.program)
    parts = [
        f"launcher {__version__}: start, watch, stop and resume distributed training",
        f"  {me} recipe=bert_finetune nodes=4",
        _section("Verbs (the default is run)", _verbs()),
        _section("Choices", _groups(invocation)),
        _section("Keys that stay stable for scripts", _wrap(_NAMES)),
        _section("Examples", (f"  {me} {example}" for example in _examples())),
        _section("Exit codes", (f"  {code:>3}  {what}" for code, what in _EXIT_CODES)),
        _section("More", _more(me)),
    ]
    return "\n\n".join(parts)


def of_verb(name: str, invocation: Invocation) -> str:
    """Return the page of `launcher VERB --help`."""
    verb, me = VERBS[name], units.shell_line(invocation.program)
    parts = [
        f"usage: {me} {verb.usage}\n\n{name}: {verb.summary}",
        _section("Examples", (f"  {me} {example}" for example in verb.examples)),
        _section("Flags", _flags(flags_of(name))),
    ]
    if name in _CONFIGURED:
        parts.append(_section("Choices", _groups(invocation)))
        parts.append(_every_key() if name == "run" else _most_used_keys(me))
    else:
        keys = [all_keys()[key] for key in ("storage.root", "run_id")]
        text = "RUN is the name of a run or the path of its folder. The default is the newest run."
        parts.append(_section("Which run", [*_wrap(text), *_keys(keys)]))
    return "\n\n".join(parts)


def _every_key() -> str:
    return _section("Keys", _keys(all_keys().values()))


def _most_used_keys(me: str) -> str:
    """Return the most used keys: only `run --help` lists all."""
    used = [all_keys()[name] for name in _NAMES.replace("=", "").split() if name in all_keys()]
    lines = [line for key in used for line in _row(f"  {key.name + '=':<24}", _in_short(key))]
    return _section("Most used keys", [*lines, "", f"  {me} run --help lists every key"])


def _in_short(key: Key) -> str:
    sentence, dot, _ = key.help.partition(". ")
    return sentence + dot.strip()


def _section(title: str, lines: Iterable[str]) -> str:
    return "\n".join([title, *lines])


def _verbs() -> Iterator[str]:
    for name, verb in VERBS.items():
        yield f"  {name:<13}{verb.summary}"


def _groups(invocation: Invocation) -> Iterator[str]:
    found = _config_paths(invocation)
    groups = found.groups(installed.all_choices())
    first = [group for group in GROUPS if group in groups]
    for group in [*first, *(group for group in groups if group not in first)]:
        for number, choice in enumerate(groups[group]):
            title = f"{group}=" if number == 0 else ""
            about = found.summary(group, choice).rstrip(".")
            yield from _row(f"  {title:<11}{choice:<15}", about)


def _config_paths(invocation: Invocation) -> paths.ConfigPaths:
    try:
        return paths.find([Path(folder) for folder in invocation.values("config-dir")])
    except LauncherError:  # --help must work, whatever else is wrong
        return paths.find()


def _examples() -> Iterator[str]:
    chosen = (("run", 0), ("run", 1), ("run", 2), ("plan", 0), ("resume", 1), ("why", 0))
    for name, number in chosen:
        yield VERBS[name].examples[number]


def _more(me: str) -> list[str]:
    return [
        f"  {me} run --help         every key, its default and its meaning",
        f"  {me} VERB --help        the flags and examples of a verb",
        "  your own recipes: files in a folder conf/ here, or in --config-dir DIR",
        '  eval "$(launcher -sc install=bash)" turns on shell completion',
    ]


def _flags(flags: Iterable[Flag]) -> Iterator[str]:
    for flag in flags:
        names = ", ".join(reversed(flag.names)) + (f" {flag.value}" if flag.value else "")
        yield from _row(f"  {names:<24}", flag.help)


def _keys(keys: Iterable[Key]) -> Iterator[str]:
    for key in keys:
        yield f"  {key.name}={_default(key)}"
        choices = f" One of {', '.join(key.choices)}." if key.choices else ""
        yield from textwrap.wrap(
            key.help + choices, _WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8
        )


def _default(key: Key) -> str:
    if key.default is None or key.default in ((), {}):
        return ""
    return str(key.default).lower() if isinstance(key.default, bool) else str(key.default)


def _row(left: str, text: str) -> list[str]:
    indent = " " * len(left)
    lines = textwrap.wrap(text, _WIDTH - len(left)) or [""]
    return [f"{left}{lines[0]}".rstrip(), *(f"{indent}{line}" for line in lines[1:])]


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")
