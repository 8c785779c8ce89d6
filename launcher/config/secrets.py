"""Takes the secrets out of a configuration, before anything shows or stores it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from launcher.config.register import plain
from launcher.config.schema import LaunchConfig
from launcher.errors import ConfigError
from launcher.specs.secret_kinds import names_a_password
from launcher.specs.secrets import (
    HIDDEN,
    PREFIX,
    names_a_secret,
    reference,
    references,
    replace_in,
)

_FOR_PROGRAM = ("args", "params")
"""The keys that only the program reads. It gets the secrets in them from the environment."""
_PROSE = ("recipe.description",)


def lift(config: LaunchConfig, environ: Mapping[str, str]) -> tuple[LaunchConfig, dict[str, str]]:
    """Return the configuration with a reference for each secret, and the variables to set.

    An exported variable with the same value is used as it is: then `resume` finds it again.

    Raises:
        ConfigError: a secret is where no program can get it from the environment, is not text, or
            was copied from a message that does not show it.
    """
    _refuse_elsewhere(config)
    _refuse_numbers(config.params, "params")
    lifter = _Lifter(environ, references(plain(config)))
    args = tuple(lifter.lift(list(config.args)))
    lifted = dataclasses.replace(config, args=args, params=lifter.lift(config.params))
    return lifted, lifter.variables


def require(config: LaunchConfig, environ: Mapping[str, str]) -> None:
    """Check that the values of all secrets are here.

    Raises:
        ConfigError: some are not; the error names them.
    """
    missing = sorted(name for name in references(plain(config)) if not environ.get(name))
    if missing:
        # One command each: `read A B` splits one line, and leaves B empty.
        export = "; ".join(f"read -rs {name}; export {name}" for name in missing)
        raise ConfigError(
            f"secrets are never stored, and the environment does not have {', '.join(missing)}",
            context="\n".join(
                f"{key}: {text}"
                for key, value in _leaves(plain(config))
                for text in _texts(value)
                if not references(text).isdisjoint(missing)
            ),
            hint=f"`{export}`, or give args= or params= again",
        )


class _Lifter:
    """Chooses a variable for each secret."""

    def __init__(self, environ: Mapping[str, str], referenced: set[str]) -> None:
        self._environ = environ
        self._referenced = referenced
        self._exported: dict[str, str] | None = None
        self.variables: dict[str, str] = {}

    def lift(self, value: Any) -> Any:
        return replace_in(value, lambda label, secret: reference(self._variable(label, secret)))

    def _variable(self, label: str, secret: str) -> str:
        if not secret.strip("*"):
            raise ConfigError(
                f"`{label}`: {secret} is not a secret, it only replaces one that is not shown",
                hint="type the secret itself",
            )
        for name, value in self._all_exported().items():
            if value == secret:
                return name
        base = PREFIX + re.sub(r"\W+", "_", label).strip("_").upper()
        name, number = base, 1
        while self._is_taken(name, secret):
            number += 1
            name = f"{base}_{number}"
        self.variables[name] = secret
        return name

    def _is_taken(self, name: str, secret: str) -> bool:
        if name in self.variables:
            return self.variables[name] != secret
        return name in self._referenced and self._environ.get(name) != secret

    def _all_exported(self) -> dict[str, str]:
        """Return the secret variables of the user that every node gets."""
        if self._exported is None:
            from launcher.transports.requests import forwarded  # noqa: PLC0415 - only for secrets

            self._exported = {
                name: value
                for name, value in sorted(forwarded(self._environ).items())
                if names_a_secret(name) and not name.startswith(PREFIX)
            }
        return self._exported


def _refuse_elsewhere(config: LaunchConfig) -> None:
    for key, value in _leaves(plain(config)):
        if key.partition(".")[0] in _FOR_PROGRAM or key in _PROSE:
            continue
        masked = replace_in({key: value}, lambda label, secret: HIDDEN)
        if masked != {key: value} or references(value):
            raise ConfigError(
                f"`{key}` contains a secret, and it would be stored in the run folder",
                hint=_elsewhere_hint(key, value),
            )


def _elsewhere_hint(key: str, value: Any) -> str:
    section, _, name = key.partition(".")
    if key in ("script", "recipe.program"):
        return "rename the file: its name looks like a secret"
    if section == "env":
        return (
            f"export {name}_TOKEN in your shell instead: the ranks inherit variables whose name "
            "says that they are secret"
        )
    if "://" in str(value):
        return "remove it from the URI and set the credentials in the environment"
    return "export it in your shell: programs inherit the environment"


def _refuse_numbers(value: Any, key: str) -> None:
    if isinstance(value, Mapping):
        for name, item in value.items():
            _refuse_numbers(item, f"{key}.{name}")
    elif isinstance(value, list):
        for item in value:
            _refuse_numbers(item, key)
    elif type(value) in (int, float) and names_a_password(key):
        raise ConfigError(
            f"`{key}` looks like a secret, but its value is a number",
            hint=f"quote it, once for Hydra and once for the shell: '{key}=\"...\"'",
        )


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def _leaves(value: Any, key: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [
            leaf
            for name, item in value.items()
            for leaf in _leaves(item, f"{key}.{name}" if key else str(name))
        ]
    return [(key, value)]
