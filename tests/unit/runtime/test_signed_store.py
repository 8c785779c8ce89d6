"""A store of torch into which strangers may write."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import torch.distributed as dist

from launcher.errors import TrainingError
from launcher.runtime.run_secret import RunSecret
from launcher.runtime.signed_store import SignedStore


@pytest.fixture
def inner() -> Any:
    """Return what every program on the network can change."""
    return dist.HashStore()  # type: ignore[attr-defined]


def signed(inner: Any, secret: str = "ours") -> SignedStore:
    return SignedStore(inner, RunSecret(secret))


@pytest.mark.parametrize("value", ["text", "ü", b"\0\xff", b""])
def test_a_value_comes_back_as_bytes(inner: Any, value: str | bytes) -> None:
    signed(inner).set("key", value)
    assert signed(inner).get("key") == (value.encode() if isinstance(value, str) else value)


def test_it_serves_torch_below_a_prefix(inner: Any) -> None:
    prefixed = dist.PrefixStore("group", signed(inner))  # type: ignore[attr-defined]
    prefixed.set("0", "address")
    assert prefixed.get("0") == b"address"
    assert not prefixed.check(["1"])
    assert (prefixed.add("counter", 2), prefixed.add("counter", 1)) == (2, 3)
    prefixed.wait(["0"], timedelta(seconds=1))
    assert prefixed.delete_key("0")
    assert not prefixed.check(["0"])
    assert prefixed.compare_set("1", "", "first") == b"first"
    assert prefixed.compare_set("1", "first", "second") == b"second"
    assert prefixed.num_keys() == 2


def test_a_value_is_replaced_only_if_it_is_the_expected_one(inner: Any) -> None:
    store = signed(inner)
    assert store.compare_set("key", "", "first") == b"first"
    assert store.compare_set("key", "other", "second") == b"first"
    assert store.compare_set("key", "first", "second") == b"second"


def test_a_value_of_a_stranger_is_refused_by_name(inner: Any) -> None:
    store = signed(inner)
    store.set("0//cpu//0/1", "127.0.0.1")
    inner.set("0//cpu//0/1", "6.6.6.6")
    with pytest.raises(TrainingError, match="refused the value of `0//cpu//0/1`"):
        store.get("0//cpu//0/1")


def test_a_value_of_another_attempt_or_of_another_key_is_refused(inner: Any) -> None:
    signed(inner, "of attempt 1").set("key", "value")
    with pytest.raises(TrainingError, match="does not come from a rank of this attempt"):
        signed(inner, "of attempt 2").get("key")
    inner.set("other", inner.get("key"))
    with pytest.raises(TrainingError, match="`other`"):
        signed(inner, "of attempt 1").get("other")
