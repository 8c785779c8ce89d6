"""Every error that a person can cause or meet, and the exit code each one ends the command with.

::

    LauncherError
    ├── ConfigError            2    the command line or a config file asks for something impossible
    │   ├── UnknownNameError   2    a key, choice or run that does not exist; offers the nearest one
    │   └── EngineMissingError 2    the engine asked for is not installed
    ├── PreflightError         3    a cheap check failed before anything was started
    ├── StagingError           4    a model, data set or program could not be brought in place
    ├── TrainingError          5    a rank failed; the message is the first failure
    │   └── CheckpointError    5    checkpoints exist but none can be read, or one cannot be written
    ├── SavedForRequeue        75   everything is saved; starting the same run again goes on
    ├── NotRequeueable         76   it failed in a way that starting it again cannot mend
    └── Interrupted            130  stopped by the person

This module imports nothing from the package, so that every layer may use it.
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
    """What went wrong (`message`), around what (`context`, may be long) and what to do (`hint`)."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str, context: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.context = context
        self.hint = hint

    def __str__(self) -> str:
        return "\n".join(part for part in (self.message, self.context, self.hint) if part)

    def __reduce__(self) -> tuple[Any, ...]:
        # keyword-only arguments defeat the default; ranks tell each other their errors by pickle
        return _rebuild, (type(self), self.message, self.context, self.hint)


def _rebuild(kind: type[LauncherError], message: str, context: str, hint: str) -> LauncherError:
    error = kind.__new__(kind, message)
    LauncherError.__init__(error, message, context=context, hint=hint)
    return error


class ConfigError(LauncherError):
    """The command line or a config file asks for something impossible."""

    exit_code = 2


class UnknownNameError(ConfigError):
    """A name that the user gave and nobody knows; the hint offers the nearest valid one."""

    def __init__(
        self, kind: str, name: str, choices: Iterable[str], *, context: str = "", hint: str = ""
    ) -> None:
        known = sorted(choices)
        near = nearest(name, known)
        listing = f"{kind} can be: {', '.join(known)}" if known else f"there is no {kind} at all"
        guess = f"did you mean `{near}`? " if near else ""
        super().__init__(
            f"unknown {kind} `{name}`",
            context=context,
            hint=(guess + listing + f". {hint}").rstrip(". "),
        )


class EngineMissingError(ConfigError):
    """The engine asked for is not installed; the hint is the command that installs it."""


class PreflightError(LauncherError):
    """A cheap check failed before anything was started."""

    exit_code = 3


class StagingError(LauncherError):
    """A model, data set or program could not be brought to where the ranks read it."""

    exit_code = 4


class TrainingError(LauncherError):
    """A rank failed; the message is the first failure over all nodes."""

    exit_code = 5


class CheckpointError(TrainingError):
    """Checkpoints exist but none can be read, or one cannot be written."""


class SavedForRequeue(LauncherError):
    """The run is saved and wants to be started again, as after a preemption."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: what a batch system takes for "try again later"


class NotRequeueable(LauncherError):
    """The run failed in a way that starting it again cannot mend."""

    exit_code = 76


class Interrupted(LauncherError):
    """The person stopped the run (Ctrl-C or `stop`)."""

    exit_code = 130


def require(key: str, value: object, *, ok: bool, reason: str) -> None:
    """Raise `ConfigError` for this value of a configuration key, with the reason, unless `ok`."""
    if not ok:
        raise ConfigError(
            f"`{key}={value}` is impossible: {reason}",
            hint=f"give `{key}` another value, or omit it",
        )


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that `name` most probably was meant to be, or None if nothing is near."""
    found = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return found[0] if found else None
