"""Optimizer state by parameter name, so that the order of the parameters does not matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from launcher.checkpoint import plain
from launcher.errors import CheckpointError

PREFIX = "optimizer/"


def tensors(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> dict[str, torch.Tensor]:
    """Return `optimizer/<parameter>/<key>` -> tensor. `names` maps id to name of a parameter."""
    return {
        f"{PREFIX}{name}/{key}": value
        for name, parameter in _parameters(optimizer, names)
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, torch.Tensor)
    }


def logical(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> dict[str, Any]:
    """Return everything else: options and names of each group, and plain values of the state."""
    values: dict[str, dict[str, Any]] = {}
    for name, parameter in _parameters(optimizer, names):
        state = optimizer.state.get(parameter, {})
        rest = {key: item for key, item in state.items() if not isinstance(item, torch.Tensor)}
        if rest:
            values[name] = plain.encode(rest, f"optimizer state of {name}")
    return {
        "kind": type(optimizer).__name__,
        "groups": [
            {
                "params": [_name(parameter, names) for parameter in group["params"]],
                "options": plain.encode(_options(group), "optimizer options"),
            }
            for group in optimizer.param_groups
        ],
        "values": values,
    }


def check(
    optimizer: torch.optim.Optimizer, names: Mapping[int, str], saved: Mapping[str, Any]
) -> None:
    """Check that the saved parameter groups are those of this optimizer.

    Raises:
        CheckpointError: they differ; the error names the first group.
    """
    now = [[_name(item, names) for item in group["params"]] for group in optimizer.param_groups]
    then = [group["params"] for group in saved["groups"]]
    if len(now) != len(then):
        raise _differs(f"{len(then)} groups were saved, the optimizer has {len(now)}")
    for index, (current, old) in enumerate(zip(now, then, strict=True)):
        odd = sorted(set(current) ^ set(old))
        if odd:
            raise _differs(f"group {index}: `{odd[0]}` is only in one of them ({len(odd)} differ)")


def reinstate(
    optimizer: torch.optim.Optimizer,
    names: Mapping[int, str],
    saved: Mapping[str, Any],
    loaded: Mapping[str, torch.Tensor],
) -> None:
    """Replace the options and the state of the optimizer. Call `check` first."""
    for group, theirs in zip(optimizer.param_groups, saved["groups"], strict=True):
        for key, value in plain.decode(theirs["options"]).items():
            if isinstance(group.get(key), torch.Tensor):
                group[key].fill_(value)
            else:
                group[key] = value
    by_name: dict[str, dict[str, Any]] = {
        name: plain.decode(values) for name, values in saved["values"].items()
    }
    for path, tensor in loaded.items():
        name, _, key = path.removeprefix(PREFIX).rpartition("/")
        by_name.setdefault(name, {})[key] = tensor
    optimizer.state.clear()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = by_name.get(_name(parameter, names))
            if state:
                optimizer.state[parameter] = {
                    key: _placed(key, value, parameter, group) for key, value in state.items()
                }


def expected_copies(optimizer: torch.optim.Optimizer) -> int:
    """Estimate how many tensors of its size the optimizer keeps for each parameter."""
    if "betas" in optimizer.defaults:
        return 3 if optimizer.defaults.get("amsgrad") else 2
    return 1 if optimizer.defaults.get("momentum") else 0


def _placed(key: str, value: Any, parameter: torch.Tensor, group: Mapping[str, Any]) -> Any:
    """Move a state tensor to its device; a step counter only if a kernel reads it there."""
    if not isinstance(value, torch.Tensor):
        return value
    on_host = key == "step" and not (group.get("capturable") or group.get("fused"))
    return value if on_host else value.to(parameter.device)


def _parameters(
    optimizer: torch.optim.Optimizer, names: Mapping[int, str]
) -> Sequence[tuple[str, torch.Tensor]]:
    return [
        (_name(parameter, names), parameter)
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]


def _name(parameter: torch.Tensor, names: Mapping[int, str]) -> str:
    try:
        return names[id(parameter)]
    except KeyError:
        raise CheckpointError(
            f"the optimizer trains a parameter that is not in the model, of shape "
            f"{tuple(parameter.shape)}",
            hint="make it part of the module that you give as model=, so that it has a name",
        ) from None


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in {"params", "param_names"}}


def _differs(how: str) -> CheckpointError:
    return CheckpointError(
        "the checkpoint's optimizer groups are not those of this optimizer",
        context=how,
        hint="build the optimizer as in the run that saved it, or restore with optimizer=None",
    )
