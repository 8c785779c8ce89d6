"""Splitting a command line into verb, flags, words and overrides. Pure.

Overrides contain `=` and are left to Hydra. The first word without `=` is the verb, the other ones
are its words (a run id, `ls`). We do not use argparse: it needs to know every key, and it accepts
abbreviations.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from launcher import units
from launcher.errors import ConfigError, UnknownNameError, nearest

UTF8_OPTION = ("-X", "utf8")
"""What the launcher adds to the interpreter's options where the locale is not UTF-8."""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """An option that begins with a dash."""

    names: tuple[str, ...]
    help: str
    value: str = ""
    """The name of its value in the help; empty for a switch."""
    verbs: tuple[str, ...] = ()
    """Verbs that accept it; empty for all."""

    @property
    def key(self) -> str:
        return self.names[0].lstrip("-")


FLAGS: tuple[Flag, ...] = (
    Flag(names=("--help", "-h"), help="explain the command, or one verb"),
    Flag(names=("--version",), help="print the version"),
    Flag(
        names=("--config-dir", "-cd"),
        value="DIR",
        help="also use the groups and recipes in DIR; repeatable",
    ),
    Flag(
        names=("--config",),
        value="FILE",
        verbs=("run",),
        help="start from a resolved configuration, such as the config.yaml of a run",
    ),
    Flag(
        names=("--multirun", "-m"),
        verbs=("run", "plan"),
        help="run every combination of `key=a,b`, one at a time",
    ),
    Flag(
        names=("--json",),
        verbs=("plan", "doctor", "status", "checkpoints"),
        help="print JSON for other programs",
    ),
    Flag(names=("--follow", "-f"), verbs=("logs", "status"), help="continue until the run ends"),
    Flag(names=("--rank",), value="N", verbs=("logs",), help="only rank N; repeatable"),
    Flag(names=("--node",), value="N", verbs=("logs",), help="only node N; repeatable"),
    Flag(
        names=("--attempt",),
        value="N",
        verbs=("logs",),
        help="attempt N, not the newest",
    ),
    Flag(names=("--agents",), verbs=("logs",), help="also the logs of the agents"),
    Flag(names=("--tail", "-n"), value="N", verbs=("logs",), help="the last N lines of each log"),
    Flag(names=("--step",), value="N", verbs=("checkpoints",), help="the checkpoint of step N"),
    Flag(names=("--to",), value="DIR", verbs=("checkpoints",), help="the folder to write"),
)
"""All flags."""
_WORDLESS = ("run", "plan", "doctor", "stage")
"""Verbs that take only overrides."""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """One command line."""

    verb: str
    words: tuple[str, ...] = ()
    """Words after the verb that are neither flags nor overrides."""
    overrides: tuple[str, ...] = ()
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Flag -> its values; a switch has one empty value."""
    program: tuple[str, ...] = ("launcher",)
    """How the user called the launcher."""

    def has(self, flag: str) -> bool:
        return flag in self.flags

    def values(self, flag: str) -> tuple[str, ...]:
        return self.flags.get(flag, ())

    def number(self, flag: str) -> int | None:
        """Return the last value of a flag as a number, None without one."""
        numbers = self.numbers(flag)
        return numbers[-1] if numbers else None

    def numbers(self, flag: str) -> tuple[int, ...]:
        """Return all values of a flag as numbers.

        Raises:
            ConfigError: one is not a number.
        """
        for value in self.values(flag):
            if not value.isdigit():
                raise ConfigError(
                    f"`--{flag}` expects a number, got `{value}`", hint=f"for example `--{flag} 0`"
                )
        return tuple(int(value) for value in self.values(flag))


def parse(
    argv: Sequence[str], verbs: Iterable[str], program: Sequence[str] = ("launcher",)
) -> Invocation:
    """Split a command line.

    Raises:
        UnknownNameError: the verb or a flag does not exist.
        ConfigError: a flag has no value, or does not belong to the verb; or a word has no meaning.
            The hint is the line to type, if the words have a meaning elsewhere.
    """
    try:
        return _parse(argv, list(verbs), program)
    except ConfigError as error:
        raise _with_line(error, argv, program) from None


def _parse(argv: Sequence[str], verbs: list[str], program: Sequence[str]) -> Invocation:
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
    verb = _verb(words, verbs)
    _check_flags(verb, flags)
    _check_words(verb, words[1:])
    return Invocation(
        verb=verb,
        words=tuple(words[1:]),
        overrides=tuple(overrides),
        flags=MappingProxyType(flags),
        program=tuple(program),
    )


def _with_line(error: ConfigError, argv: Sequence[str], program: Sequence[str]) -> ConfigError:
    from launcher.cli import suggest

    ours = {flag for verb in _WORDLESS for flag in flags_of(verb)}
    own = {name: bool(flag.value) for flag in ours for name in flag.names}
    line = suggest.line(argv, (*_WORDLESS, "resume"), own)
    if line is None:
        return error
    return ConfigError(
        error.message, context=error.context, hint=f"type: {units.shell_line([*program, *line])}"
    )


def typed_program(argv: Sequence[str], original: Sequence[str]) -> tuple[str, ...]:
    """Return how the user called the launcher, from `sys.argv` and `sys.orig_argv`.

    That is `launcher`, or an interpreter with its options up to `-m launcher`.
    """
    started = argv[0] if argv else ""
    if Path(started).name != "__main__.py" or "-m" not in original:
        return (_short(started) or "launcher",)
    python, *options = original[: original.index("-m")]
    if tuple(options[:2]) == UTF8_OPTION:
        del options[:2]
    return (_short(python), *options, "-m", "launcher")


def _short(program: str) -> str:
    """Return the name of a program if the shell finds it by that name, else its path."""
    name = Path(program).name
    return name if shutil.which(name) == program else program


def flags_of(verb: str) -> list[Flag]:
    """Return the flags that a verb accepts."""
    return [flag for flag in FLAGS if not flag.verbs or verb in flag.verbs]


def _is_override(word: str) -> bool:
    return "=" in word or word.startswith(("~", "+"))


def _verb(words: Sequence[str], verbs: list[str]) -> str:
    if not words:
        return "run"
    if words[0] not in verbs:
        from launcher.config.keys import GROUPS, all_keys, free_prefix

        if words[0] in (*GROUPS, *all_keys()) or free_prefix(words[0]):
            raise ConfigError(f"`{words[0]}` has no value", hint=f"write `{words[0]}=...`")
        hint = "" if nearest(words[0], verbs) else "write an override as `key=value`"
        raise UnknownNameError("verb", words[0], verbs, hint=hint)
    return words[0]


def _flag(word: str, rest: list[str]) -> tuple[Flag, str]:
    name, equals, value = word.partition("=")
    flag = next((each for each in FLAGS if name in each.names), None)
    if flag is None:
        known = [each for flag in FLAGS for each in flag.names if each.startswith("--")]
        values = [value] if equals else rest[:1]
        arguments = units.shell_word(f"args=[{','.join((name, *values))}]")
        hint = f"arguments of a script: {arguments}"
        raise UnknownNameError("flag", name, known, hint=hint)
    if equals and not flag.value:
        raise ConfigError(f"`{name}` takes no value, got `{word}`", hint=f"write `{name}`")
    if not flag.value:
        return flag, value
    given = value if equals else rest.pop(0) if rest else ""
    if not given:  # often a shell variable that is not set
        raise ConfigError(f"`{name}` needs a value", hint=f"write `{name} {flag.value}`")
    return flag, given


def _check_words(verb: str, words: Sequence[str]) -> None:
    if words and verb in _WORDLESS:
        raise ConfigError(
            f"`{verb}` does not take the word `{words[0]}`",
            hint=f"write an override as `key=value`, and name a run with `run_id={words[0]}`",
        )


def _check_flags(verb: str, flags: Mapping[str, object]) -> None:
    known = {flag.key for flag in flags_of(verb)}
    for flag in FLAGS:
        if flag.key in flags and flag.key not in known:
            raise ConfigError(
                f"`{verb}` does not have the flag `{flag.names[0]}`",
                hint=f"it belongs to {', '.join(f'`{each}`' for each in flag.verbs)}",
            )
