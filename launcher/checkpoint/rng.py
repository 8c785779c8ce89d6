"""Random state of one rank, as tensors: Python, numpy, and torch on the CPU and its device."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping

import numpy as np
import torch


def capture() -> dict[str, torch.Tensor]:
    """Return name -> tensor for every random number generator of this process."""
    _, words, gauss = random.getstate()
    numpy_state = np.random.get_state(legacy=False)
    states = {
        "python": torch.tensor(words, dtype=torch.int64),
        "python_gauss": _optional(gauss),
        "numpy": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
        "numpy_position": torch.tensor(
            [numpy_state["state"]["pos"], numpy_state["has_gauss"]], dtype=torch.int64
        ),
        "numpy_gauss": torch.tensor([numpy_state["gauss"]], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def reinstate(states: Mapping[str, torch.Tensor]) -> bool:
    """Restore what `capture` returned. Return False if there is no state for a device in use.

    Raises:
        KeyError: `states` is not what `capture` returns.
    """
    gauss = states["python_gauss"].tolist()
    random.setstate((3, tuple(states["python"].tolist()), gauss[0] if gauss else None))
    position, has_gauss = states["numpy_position"].tolist()
    keys = states["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, position, has_gauss, states["numpy_gauss"].item()))
    torch.set_rng_state(states["torch"].clone())  # torch ignores the offset of a view here
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return True
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].clone())
    return "cuda" in states


def rederive(seed: int, step: int, rank: int) -> None:
    """Seed every generator from (seed, step, rank): reproducible if the saved states do not fit."""
    text = f"{seed}:{step}:{rank}".encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], "little")
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


def _optional(value: float | None) -> torch.Tensor:
    return torch.tensor([] if value is None else [value], dtype=torch.float64)
