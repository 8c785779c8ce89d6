"""Whether an existing run may resume with a changed configuration.

Keys that change the meaning of a checkpoint must keep their values: otherwise the loss curve
belongs to neither configuration. Where the ranks run, how often they save and what they print may
change, and a run may become longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.config.register import plain
from launcher.config.saved import read_saved
from launcher.config.schema import LaunchConfig
from launcher.errors import ConfigError
from launcher.runs.command_line import ANYWHERE, CommandLine
from launcher.specs import RunLayout
from launcher.specs.secrets import HIDDEN, replace_in, without_references

_FIXED = (
    *("recipe.name", "module", "args", "model", "data", "params", "train"),
    *("determinism", "logical_shards"),
)
"""Keys, or sections of keys, that define what is trained."""
_LENGTH = ("train.max_steps", "train.epochs")
"""How long to train. May grow; a smaller value may lie in the past."""
_FREE = frozenset(
    f"train.{name}"
    for name in (
        *("micro_batch_size", "precision", "compile"),  # how a step is computed, not which
        *("eval_every_steps", "log_every_steps", "record_samples"),  # what is reported
    )
)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One key whose value differs from that of the run's start."""

    key: str
    then: Any
    now: Any
    matters: bool
    """True if resuming from the old checkpoints would be meaningless."""

    def __str__(self) -> str:
        return f"{self.key}: {_text(self.then)} then, {_text(self.now)} now"


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return what differs between two plain configurations.

    A key in only one of them does not count: another version of the launcher added or removed it.
    Free values (`params`, options) are compared as a whole.
    """
    old, new = dict(_leaves(then)), dict(_leaves(now))
    return tuple(
        Difference(
            key=key,
            then=old[key],
            now=new[key],
            matters=_matters(key, now) and not _is_longer(key, old[key], new[key]),
        )
        for key in old.keys() & new.keys()
        if _normal(old[key]) != _normal(new[key])
    )


def longer(differences: Iterable[Difference]) -> str:
    """Return in words how much longer the run trains than before; empty if it does not."""
    return ", ".join(
        f"{each.key} from {each.then} to {each.now}"
        for each in differences
        if _is_longer(each.key, each.then, each.now)
    )


def require_same_run(
    file: Path, config: LaunchConfig, commands: CommandLine = ANYWHERE
) -> tuple[Difference, ...]:
    """Refuse to resume a run with incompatible values; return the allowed differences.

    `file` is the configuration in the run folder; if it does not exist, the run is new. With
    `resume=never` no checkpoint is loaded, so only the recipe must be the same.

    Raises:
        ConfigError: a difference matters; the error lists old and new values and what to do.
    """
    if not file.exists():
        return ()
    differing = sorted(differences(read_saved(file), plain(config)), key=lambda each: each.key)
    matter = [each for each in differing if each.matters]
    if config.resume == "never":
        matter = [each for each in matter if each.key == "recipe.name"]
    if matter:
        raise _refusal(config, matter, commands.of_run(RunLayout(file.parent), "resume"))
    return tuple(differing)


def _refusal(config: LaunchConfig, matter: list[Difference], resume: str) -> ConfigError:
    run_id = config.run_id
    if any(each.key == "recipe.name" for each in matter):
        first = next(each for each in matter if each.key == "recipe.name")
        return ConfigError(
            f"run `{run_id}` belongs to recipe `{first.then}`, not `{first.now}`",
            hint=f"choose another run_id, or resume the existing run: `{resume}`",
        )
    return ConfigError(
        f"run `{run_id}` was started with other values, and its checkpoints depend on them",
        context="\n".join(str(each) for each in _without_consequences(matter)),
        hint=f"resume with the old values: `{resume}`; "
        "or choose another run_id; or add resume=never to start this run over",
    )


def _without_consequences(matter: list[Difference]) -> list[Difference]:
    """If the name of a model or data set differs, omit what else differs in its section."""
    renamed = {each.key.removesuffix("name") for each in matter if each.key.endswith(".name")}
    return [
        each
        for each in matter
        if each.key.endswith(".name") or not each.key.startswith(tuple(renamed))
    ]


def _is_longer(key: str, then: Any, now: Any) -> bool:
    """0 steps means that epochs decide, so the lengths cannot be compared."""
    return key in _LENGTH and 0 < then < now


def _matters(key: str, now: Mapping[str, Any]) -> bool:
    if key == "recipe.program":  # for our recipes, only where the launcher is installed
        return bool(now.get("script"))
    if key in _FREE:
        return False
    return any(key == fixed or key.startswith(f"{fixed}.") for fixed in _FIXED)


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and key not in ("params", "env", "options"):
            yield from _leaves(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def _normal(value: Any) -> Any:
    """Return what counts of a value: not its secrets, which may be renewed.

    Of a `build://` URI, which contains an installation path, only the program's name counts.
    """
    value = without_references(replace_in(value, lambda label, secret: HIDDEN))
    if isinstance(value, str) and value.startswith("build://"):
        return Path(value).name
    return value


def _text(value: Any) -> str:
    return "nothing" if value in ("", None, [], {}) else str(value)
