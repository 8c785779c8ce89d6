"""The errors of the launcher, and the exit code of each.

::

    LauncherError
    ├── ConfigError            2    invalid configuration
    │   ├── UnknownNameError   2    unknown key, choice or run; the hint offers the nearest name
    │   └── EngineMissingError 2    the engine is not installed
    ├── PreflightError         3    a check failed before anything was started
    ├── StagingError           4    cannot stage a model, data set or program
    ├── TrainingError          5    a rank failed; the message is the first failure
    │   └── CheckpointError    5    cannot read or write a checkpoint
    ├── SavedForRequeue        75   preempted: checkpoint saved, requeue
    ├── NotRequeueable         76   failed; restarting will not help
    └── Interrupted            130  stopped by the user

This module imports nothing from the package, so that every room can use it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = [
    "CheckpointError",
    "ConfigError",
    "EngineMissingError",
    "Interrupted",
    "LauncherError",
    "NotRequeueable",
    "PreflightError",
    "SavedForRequeue",
    "StagingError",
    "TrainingError",
    "UnknownNameError",
    "nearest",
    "require",
]


class LauncherError(Exception):
    """What happened (`message`), where (`context`, may be long) and what to do (`hint`)."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str, context: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.context = context
        self.hint = hint

    def __str__(self) -> str:
        return "\n".join(part for part in (self.message, self.context, self.hint) if part)

    def __reduce__(self) -> tuple[Any, ...]:
        # The default does not support keyword-only arguments; ranks send their errors by pickle.
        return _rebuild, (type(self), self.message, self.context, self.hint)


def _rebuild(kind: type[LauncherError], message: str, context: str, hint: str) -> LauncherError:
    error = kind.__new__(kind, message)
    LauncherError.__init__(error, message, context=context, hint=hint)
    return error


class ConfigError(LauncherError):
    """Invalid value, key or choice on the command line or in a config file."""

    exit_code = 2


class UnknownNameError(ConfigError):
    """A name that does not exist; the hint offers the nearest one."""

    def __init__(
        self, kind: str, name: str, choices: Iterable[str], *, context: str = "", hint: str = ""
    ) -> None:
        known = sorted(choices)
        near = nearest(name, known)
        listing = f"{kind} can be: {', '.join(known)}" if known else f"no {kind} exists"
        guess = f"did you mean `{near}`? " if near else ""
        super().__init__(
            f"unknown {kind} `{name}`",
            context=context,
            hint=(guess + listing + f". {hint}").rstrip(". "),
        )


class EngineMissingError(ConfigError):
    """The engine is not installed; the hint is the command that installs it."""


class PreflightError(LauncherError):
    """A check failed before anything was started."""

    exit_code = 3


class StagingError(LauncherError):
    """Cannot stage a model, data set or program."""

    exit_code = 4


class TrainingError(LauncherError):
    """A rank failed; the message is the first failure over all nodes."""

    exit_code = 5


class CheckpointError(TrainingError):
    """Cannot read any of the existing checkpoints, or cannot write one."""


class SavedForRequeue(LauncherError):
    """Preempted: a checkpoint is saved, and a requeue resumes the run."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h; for batch systems, "try again later"


class NotRequeueable(LauncherError):
    """The run failed; restarting will not help."""

    exit_code = 76


class Interrupted(LauncherError):
    """The user stopped the run (Ctrl-C or `stop`)."""

    exit_code = 130


def require(key: str, value: object, *, ok: bool, reason: str) -> None:
    """Raise `ConfigError` for this value of a configuration key, unless `ok`."""
    if not ok:
        raise ConfigError(
            f"`{key}={value}` is impossible: {reason}",
            hint=f"give `{key}` another value, or omit it",
        )


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice nearest to `name`, None if none is near."""
    matches = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return matches[0] if matches else None
