"""Logical state as JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from launcher.checkpoint.plain import decode, encode, fingerprint

VALUES: list[Any] = [
    None,
    True,
    0,
    -(2**70),
    0.1 + 0.2,
    math.inf,
    "text with \u00e9 and $",
    [1, [2, (3, 4)]],
    {"a": {"b": (1.5, None)}},
    {1: "integer keys", (2, 3): "tuple keys"},
    {"$tuple": "looks like one of ours"},
    Counter({3: 1, 5: 2}),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_comes_back_equals_what_went_in(value: Any) -> None:
    found = decode(json.loads(json.dumps(encode(value), allow_nan=False)))
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_survives() -> None:
    assert math.isnan(decode(json.loads(json.dumps(encode(math.nan), allow_nan=False))))


def test_scalars_of_numpy_and_torch_become_plain_numbers() -> None:
    found = encode({"a": np.float64(0.5), "b": torch.tensor(3), "c": np.bool_(True)})
    assert found == {"a": 0.5, "b": 3, "c": True}


def test_what_has_no_json_form_is_named_with_its_place() -> None:
    with pytest.raises(TypeError, match=r"`scheduler\.inner\[1\]` is a object"):
        encode({"inner": [1, object()]}, "scheduler")
    with pytest.raises(TypeError, match="Tensor"):
        encode(torch.zeros(3))


def test_equal_values_have_equal_fingerprints_and_others_do_not() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.0})
