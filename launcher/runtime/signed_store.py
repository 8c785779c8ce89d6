"""A store of torch whose values are sealed: a value that another program wrote is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch.distributed as dist

from launcher.runtime.run_secret import RunSecret

__all__ = ["SignedStore"]

_ALIVE: list[SignedStore] = []
"""Torch keeps only the C++ part of a store, which calls these methods as long as it lives."""


class SignedStore(dist.Store):  # type: ignore[name-defined,misc]
    """Seals what it writes into `store`, and opens what it reads, such as the addresses of ranks.

    Counters cannot be sealed. A changed counter can only let ranks start or end too early.
    """

    def __init__(self, store: Any, secret: RunSecret) -> None:
        super().__init__()
        self._store, self._secret = store, secret
        _ALIVE.append(self)

    def set(self, key: str, value: str | bytes) -> None:
        self._store.set(key, self._seal(key, value))

    def get(self, key: str) -> bytes:
        return self._open(key, self._store.get(key))

    def compare_set(
        self, key: str, expected_value: str | bytes, desired_value: str | bytes
    ) -> bytes:
        # An empty text means: only if there is no value.
        expected = self._seal(key, expected_value) if expected_value else b""
        return self._open(
            key, self._store.compare_set(key, expected, self._seal(key, desired_value))
        )

    def add(self, key: str, value: int) -> int:
        return int(self._store.add(key, value))

    def check(self, keys: list[str]) -> bool:
        return bool(self._store.check(keys))

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        self._store.wait(keys, *([] if timeout is None else [timeout]))

    def delete_key(self, key: str) -> bool:
        return bool(self._store.delete_key(key))

    def num_keys(self) -> int:
        return int(self._store.num_keys())

    # The names under which the C++ part calls them.
    deleteKey = delete_key  # noqa: N815
    getNumKeys = num_keys  # noqa: N815

    def set_timeout(self, timeout: timedelta) -> None:
        self._store.set_timeout(timeout)

    @property
    def timeout(self) -> timedelta:
        found: timedelta = self._store.timeout
        return found

    def _seal(self, key: str, value: str | bytes) -> bytes:
        text = value.encode() if isinstance(value, str) else value
        return self._secret.seal(_purpose(key), text)

    def _open(self, key: str, sealed: bytes) -> bytes:
        return self._secret.open(_purpose(key), sealed)


def _purpose(key: str) -> str:
    return f"the value of `{key}` in the rendezvous store"
