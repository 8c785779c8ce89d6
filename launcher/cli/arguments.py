"""What was typed, taken apart: verb, flags, words and overrides. Pure.

Overrides are Hydra's business and contain `=`; the first word without one is the verb; what follows
without one are the verb's own words (a run id, `ls`). argparse is not used: it would want to know
every key, and it guesses at abbreviations.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from launcher.errors import ConfigError, UnknownNameError, nearest


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One option that begins with a dash."""

    names: tuple[str, ...]
    help: str
    value: str = ""
    """What its value is called in the help; empty for a switch."""
    verbs: tuple[str, ...] = ()
    """Verbs that know it; empty for all."""

    @property
    def key(self) -> str:
        return self.names[0].lstrip("-")


FLAGS: tuple[Flag, ...] = (
    Flag(names=("--help", "-h"), help="explain the command, or the verb before it"),
    Flag(names=("--version",), help="print the version"),
    Flag(
        names=("--config-dir", "-cd"),
        value="DIR",
        help="add the groups and recipes in DIR to ours; may be given again",
    ),
    Flag(
        names=("--config",),
        value="FILE",
        verbs=("run",),
        help="start from the configuration in FILE, as a run's folder has it",
    ),
    Flag(
        names=("--multirun", "-m"),
        verbs=("run", "plan"),
        help="run every combination of `key=a,b`, one after another",
    ),
    Flag(
        names=("--json",),
        verbs=("plan", "doctor", "status", "checkpoints"),
        help="print JSON, for other programs",
    ),
    Flag(names=("--follow", "-f"), verbs=("logs", "status"), help="go on until the run ends"),
    Flag(names=("--rank",), value="N", verbs=("logs",), help="only rank N; may be given again"),
    Flag(names=("--node",), value="N", verbs=("logs",), help="only node N; may be given again"),
    Flag(names=("--attempt",), value="N", verbs=("logs",), help="of attempt N, not the newest"),
    Flag(names=("--agents",), verbs=("logs",), help="the logs of the nodes' agents too"),
    Flag(names=("--tail", "-n"), value="N", verbs=("logs",), help="only the last N lines of each"),
    Flag(names=("--step",), value="N", verbs=("checkpoints",), help="the checkpoint of step N"),
    Flag(names=("--to",), value="DIR", verbs=("checkpoints",), help="where `export` writes"),
)
"""Every flag there is."""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """One command line."""

    verb: str
    words: tuple[str, ...] = ()
    """Words after the verb that are neither flags nor overrides."""
    overrides: tuple[str, ...] = ()
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Key of a flag -> its values; a switch has one empty value."""
    program: tuple[str, ...] = ("launcher",)
    """How the user called the launcher."""

    def has(self, flag: str) -> bool:
        return flag in self.flags

    def values(self, flag: str) -> tuple[str, ...]:
        return self.flags.get(flag, ())

    def number(self, flag: str) -> int | None:
        """Return the last value of a flag as a number, None when it was not given."""
        numbers = self.numbers(flag)
        return numbers[-1] if numbers else None

    def numbers(self, flag: str) -> tuple[int, ...]:
        """Return all values of a flag as numbers.

        Raises:
            ConfigError: one is no number.
        """
        for value in self.values(flag):
            if not value.isdigit():
                raise ConfigError(f"`--{flag} {value}`: a number is wanted", hint=f"`--{flag} 0`")
        return tuple(int(value) for value in self.values(flag))


def parse(
    argv: Sequence[str], verbs: Iterable[str], program: Sequence[str] = ("launcher",)
) -> Invocation:
    """Take a command line apart.

    Raises:
        UnknownNameError: the verb is none.
        ConfigError: a flag is unknown, has no value, or is not one of this verb's.
    """
    flags: dict[str, tuple[str, ...]] = {}
    words: list[str] = []
    overrides: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word.startswith("-") and word != "-":
            flag, value = _flag(word, rest)
            flags[flag.key] = (*flags.get(flag.key, ()), value)
        elif _is_override(word):
            overrides.append(word)
        else:
            words.append(word)
    verb = _verb(words, list(verbs))
    _check_flags(verb, flags)
    return Invocation(
        verb=verb,
        words=tuple(words[1:]),
        overrides=tuple(overrides),
        flags=MappingProxyType(flags),
        program=tuple(program),
    )


def typed_program(argv: Sequence[str], original: Sequence[str]) -> tuple[str, ...]:
    """Return the words that started the launcher, from `sys.argv` and `sys.orig_argv`.

    `launcher`, or an interpreter with its options up to `-m launcher`.
    """
    started = argv[0] if argv else ""
    if Path(started).name != "__main__.py" or "-m" not in original:
        return (_short(started) or "launcher",)
    python, *options = original[: original.index("-m")]
    return (_short(python), *options, "-m", "launcher")


def _short(program: str) -> str:
    """Return the name of a program where the shell finds it under that name, else its path."""
    name = Path(program).name
    return name if shutil.which(name) == program else program


def flags_of(verb: str) -> list[Flag]:
    """Return the flags that a verb knows."""
    return [flag for flag in FLAGS if not flag.verbs or verb in flag.verbs]


def _is_override(word: str) -> bool:
    return "=" in word or word.startswith(("~", "+"))


def _verb(words: Sequence[str], verbs: list[str]) -> str:
    if not words:
        return "run"
    if words[0] not in verbs:
        hint = "" if nearest(words[0], verbs) else "an override is written `key=value`"
        raise UnknownNameError("verb", words[0], verbs, hint=hint)
    return words[0]


def _flag(word: str, rest: list[str]) -> tuple[Flag, str]:
    name, equals, value = word.partition("=")
    flag = next((each for each in FLAGS if name in each.names), None)
    if flag is None:
        known = [each for flag in FLAGS for each in flag.names if each.startswith("--")]
        raise UnknownNameError("flag", name, known)
    if equals and not flag.value:
        raise ConfigError(f"`{word}`: {name} takes no value", hint=f"just `{name}`")
    if not flag.value:
        return flag, value
    given = value if equals else rest.pop(0) if rest else ""
    if not given:  # most often a shell variable that is not set
        raise ConfigError(f"`{name}` needs a value", hint=f"`{name} {flag.value}`")
    return flag, given


def _check_flags(verb: str, flags: Mapping[str, object]) -> None:
    known = {flag.key for flag in flags_of(verb)}
    for flag in FLAGS:
        if flag.key in flags and flag.key not in known:
            raise ConfigError(
                f"`{flag.names[0]}` is no flag of `{verb}`",
                hint=f"it belongs to {', '.join(f'`launcher {each}`' for each in flag.verbs)}",
            )
