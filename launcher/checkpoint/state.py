"""What a checkpoint holds of a program: collected for saving, put back after loading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch

from launcher.checkpoint import optimizers, plain
from launcher.checkpoint.layout import Signature
from launcher.checkpoint.plan import TensorSpec
from launcher.checkpoint.sampler import DataCursor
from launcher.errors import CheckpointError

MODEL, EXTRA = "model/", "extra/"


@dataclass(kw_only=True)
class TrainingState:
    """Everything a checkpoint saves.

    The loop keeps `step` and `cursor` up to date; the rest is read when it is saved.
    """

    model: torch.nn.Module
    """Wrapped or not: names are those of the plain module."""
    optimizer: torch.optim.Optimizer | None = None
    scheduler: Any = None
    """Anything with `state_dict` and `load_state_dict` whose state has a JSON form."""
    scaler: Any = None
    """The same, for mixed precision."""
    cursor: DataCursor = field(default_factory=DataCursor)
    step: int = 0
    """Optimiser steps done."""
    extra: dict[str, torch.Tensor] = field(default_factory=dict)
    """Further replicated tensors by name, such as an average of the weights."""
    scalars: dict[str, Any] = field(default_factory=dict)
    """Further values with a JSON form, equal on all ranks."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One look at a TrainingState. The tensors are the live ones, not copies."""

    tensors: dict[str, torch.Tensor]
    logical: dict[str, Any]
    signature: Signature

    def agreed(self) -> dict[str, str]:
        """Return a digest of each part that must be equal on all ranks."""
        found = {key: plain.fingerprint(value) for key, value in self.logical.items()}
        return {**found, "model": self.signature.digest}


def collect(state: TrainingState) -> Snapshot:
    """Look at `state` and name everything in it.

    Raises:
        CheckpointError: something in it cannot be saved; it is named.
    """
    model, aliases = model_tensors(state.model)
    tensors = {f"{MODEL}{name}": tensor for name, tensor in model.items()}
    tensors |= {f"{EXTRA}{name}": tensor for name, tensor in state.extra.items()}
    parts: dict[str, Any] = {
        "step": state.step,
        "cursor": vars(state.cursor),
        "scalars": state.scalars,
        "scheduler": state.scheduler.state_dict() if state.scheduler else None,
        "scaler": state.scaler.state_dict() if state.scaler else None,
        "aliases": aliases,
    }
    try:
        logical = {key: plain.encode(value, key) for key, value in parts.items()}
        logical["optimizer"] = None
        if state.optimizer is not None:
            names = parameter_names(state.model)
            tensors |= optimizers.tensors(state.optimizer, names)
            logical["optimizer"] = optimizers.logical(state.optimizer, names)
    except TypeError as error:
        raise CheckpointError(
            f"the state cannot be saved: {error}",
            hint="keep numbers, strings, lists and dicts in it; tensors belong in extra=",
        ) from error
    return Snapshot(tensors=tensors, logical=logical, signature=signature(specs(tensors), aliases))


def state_bytes(state: TrainingState) -> int:
    """Return about how many bytes a save of `state` will have.

    An optimizer that has not stepped yet has no state; what it will have is guessed from its kind.
    """
    tensors = list(model_tensors(state.model)[0].values()) + list(state.extra.values())
    if state.optimizer is not None:
        per_parameter = optimizers.expected_copies(state.optimizer)
        for group in state.optimizer.param_groups:
            tensors += [item for item in group["params"] if item.requires_grad] * per_parameter
    return sum(item.numel() * item.element_size() for item in tensors)


def model_tensors(model: torch.nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return parameters and persistent buffers by clean name, and for a tied one.

    Other name -> name it is saved under.
    """
    found: dict[str, torch.Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[int, str] = {}
    for raw, value in unwrapped(model).state_dict(keep_vars=True).items():
        name = clean(raw)
        if not isinstance(value, torch.Tensor):
            raise CheckpointError(
                f"the model's state has `{name}`, a {type(value).__name__}, which is no tensor",
                hint="register it as a buffer, or put it into scalars=",
            )
        if id(value) in first:
            aliases[name] = first[id(value)]
        else:
            first[id(value)] = name
            found[name] = value
    return found, aliases


def parameter_names(model: torch.nn.Module) -> dict[int, str]:
    """Return id of a parameter -> its clean name, for a tied one the name it is saved under."""
    return {id(item): clean(name) for name, item in unwrapped(model).named_parameters()}


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """Return the module inside DistributedDataParallel and torch.compile."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, torch.nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, torch.nn.Module):
            return model
        model = inner


def clean(name: str) -> str:
    """Return a parameter's name without what wrappers of inner modules add to it."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def specs(tensors: Mapping[str, torch.Tensor]) -> list[TensorSpec]:
    """Describe tensors for the plan.

    Raises:
        CheckpointError: one of them has a type or layout that a checkpoint cannot hold yet.
    """
    return [spec(name, tensor) for name, tensor in tensors.items()]


def spec(name: str, tensor: torch.Tensor) -> TensorSpec:
    """Describe one tensor; see `specs`."""
    if tensor.layout != torch.strided or hasattr(tensor, "to_local"):
        raise _unsupported(name, "sharded" if hasattr(tensor, "to_local") else str(tensor.layout))
    if tensor.dtype not in NAMES:
        raise _unsupported(name, str(tensor.dtype))
    return TensorSpec(name=name, dtype=NAMES[tensor.dtype], shape=tuple(tensor.shape))


def signature(described: Iterable[TensorSpec], aliases: Mapping[str, str]) -> Signature:
    """Return what identifies the model among the described tensors."""
    model = [item for item in described if item.name.startswith(MODEL)]
    table = sorted([item.name.removeprefix(MODEL), item.dtype, list(item.shape)] for item in model)
    return Signature(
        digest=plain.fingerprint([table, sorted(aliases.items())]),
        tensors=len(model),
        size_bytes=sum(item.size_bytes for item in model),
    )


def _unsupported(name: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"`{name}` is {what}, which this version cannot save",
        hint="save replicated, dense tensors of an ordinary element type",
    )


# Element types: safetensors' names and torch's.
TORCH_TYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "BOOL": torch.bool,
        "U8": torch.uint8,
        "I8": torch.int8,
        "F8_E4M3": torch.float8_e4m3fn,
        "F8_E5M2": torch.float8_e5m2,
        "U16": torch.uint16,
        "I16": torch.int16,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "U32": torch.uint32,
        "I32": torch.int32,
        "F32": torch.float32,
        "U64": torch.uint64,
        "I64": torch.int64,
        "F64": torch.float64,
        "C64": torch.complex64,
    }
)
NAMES: Mapping[torch.dtype, str] = MappingProxyType(
    {kind: name for name, kind in TORCH_TYPES.items()}
)
