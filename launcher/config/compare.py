"""Whether a run that is there already may go on with another configuration. Pure but for one read.

What changes the meaning of a checkpoint must stay as it was: the loss curve would be that of
neither configuration. Where the ranks run, how often they save and what is shown may change freely,
and a run may be made longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.config.build import plain
from launcher.config.saved import read_saved
from launcher.config.schema import LaunchConfig
from launcher.errors import ConfigError
from launcher.runs.command_line import ANYWHERE, CommandLine
from launcher.specs import RunLayout

_FIXED = (
    *("recipe.name", "args", "model", "data", "params", "train"),
    *("determinism", "logical_shards"),
)
"""Keys, or sections of keys, that decide what is trained."""
_LENGTH = ("train.max_steps", "train.epochs")
"""How long is trained: more may be asked for at any time, less would be in the past already."""
_FREE = frozenset(
    f"train.{name}"
    for name in (
        *("micro_batch_size", "precision", "compile"),  # how a step is computed, not which step
        *("eval_every_steps", "log_every_steps", "record_samples"),  # what is looked at
    )
)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One key that has another value than when the run was started."""

    key: str
    then: Any
    now: Any
    matters: bool
    """True when going on from the old checkpoints would be meaningless."""

    def __str__(self) -> str:
        return f"{self.key}: {_text(self.then)} then, {_text(self.now)} now"


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return what differs between two plain configurations.

    A key that only one of them has is no difference: it came or went with a version of ours. Values
    of the user's own (`params`, options) are compared whole.
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


def longer(found: Iterable[Difference]) -> str:
    """Return in words by how much more is to be trained than before; empty if it is not."""
    return ", ".join(
        f"{each.key} from {each.then} to {each.now}"
        for each in found
        if _is_longer(each.key, each.then, each.now)
    )


def require_same_run(
    file: Path, config: LaunchConfig, commands: CommandLine = ANYWHERE
) -> tuple[Difference, ...]:
    """Refuse to go on with a run that was started differently; return what may differ and does.

    `file` is the configuration in the run's folder; none there means a new run. With `resume=never`
    nothing is taken from the old checkpoints, so that only the recipe must be the same.

    Raises:
        ConfigError: a difference matters; it lists old and new values and the ways on.
    """
    if not file.exists():
        return ()
    found = sorted(differences(read_saved(file), plain(config)), key=lambda each: each.key)
    matter = [each for each in found if each.matters]
    if config.resume == "never":
        matter = [each for each in matter if each.key == "recipe.name"]
    if matter:
        raise _refusal(config, matter, commands.of_run(RunLayout(file.parent), "resume"))
    return tuple(found)


def _refusal(config: LaunchConfig, matter: list[Difference], resume: str) -> ConfigError:
    run_id = config.run_id
    if any(each.key == "recipe.name" for each in matter):
        first = next(each for each in matter if each.key == "recipe.name")
        return ConfigError(
            f"run `{run_id}` is one of recipe `{first.then}`, not `{first.now}`",
            hint=f"give another run_id, or go on with the old one: `{resume}`",
        )
    return ConfigError(
        f"run `{run_id}` was started with other values, and its checkpoints belong to those",
        context="\n".join(str(each) for each in _told(matter)),
        hint=f"go on with the old ones: `{resume}`; "
        "or give another run_id; or add resume=never to start this run over",
    )


def _told(matter: list[Difference]) -> list[Difference]:
    """Another model is told by its name: what else differs follows from that."""
    renamed = {each.key.removesuffix("name") for each in matter if each.key.endswith(".name")}
    return [
        each
        for each in matter
        if each.key.endswith(".name") or not each.key.startswith(tuple(renamed))
    ]


def _is_longer(key: str, then: Any, now: Any) -> bool:
    """Without a number of steps, which is 0, nobody knows here how many an epoch has."""
    return key in _LENGTH and 0 < then < now


def _matters(key: str, now: Mapping[str, Any]) -> bool:
    if key == "recipe.program":  # of our recipes it only says where we are installed
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
    """`build://` names a program of ours by where it is installed: the same name is the same."""
    if isinstance(value, str) and value.startswith("build://"):
        return Path(value).name
    return value


def _text(value: Any) -> str:
    return "nothing" if value in ("", None, [], {}) else str(value)
