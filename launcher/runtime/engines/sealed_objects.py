"""Objects between ranks: pickled, and sealed so that no rank unpickles what a stranger sent."""

from __future__ import annotations

import itertools
import os
import pickle
from abc import ABC, abstractmethod
from typing import Any, Self, TypeVar

from launcher.runtime.engines.engine import OneShardPerRank
from launcher.runtime.run_secret import RunSecret

__all__ = ["SealedObjects"]

T = TypeVar("T")


class SealedObjects(OneShardPerRank, ABC):
    """The part of an engine that sends objects; the engine itself only sends bytes."""

    @property
    @abstractmethod
    def rank(self) -> int: ...

    def __init__(self) -> None:
        self._secret = RunSecret.from_environ(os.environ)
        self._numbers_of_objects = itertools.count()

    def after_handshake(self) -> Self:
        """Return the engine once every rank has proved that it knows the secret. Collective.

        Raises:
            TrainingError: one did not.
        """
        self.all_gather_object(None)
        return self

    def broadcast_object(self, obj: T, root: int = 0) -> T:
        number = next(self._numbers_of_objects)
        own = self._pack(number, obj) if self.rank == root else b""
        received = self._broadcast_bytes(own, root)
        found: T = obj if self.rank == root else self._unpack(number, root, received)
        return found

    def all_gather_object(self, obj: T) -> list[T]:
        number = next(self._numbers_of_objects)
        received = self._gather_bytes(self._pack(number, obj))
        return [self._unpack(number, rank, each) for rank, each in enumerate(received)]

    @abstractmethod
    def _broadcast_bytes(self, own: bytes, root: int) -> bytes:
        """Return the bytes of `root`; those of the other ranks are ignored."""

    @abstractmethod
    def _gather_bytes(self, own: bytes) -> list[bytes]:
        """Return the bytes of all ranks, in rank order. Never empty."""

    def _pack(self, number: int, obj: object) -> bytes:
        return self._secret.seal(_purpose(number, self.rank), pickle.dumps(obj))

    def _unpack(self, number: int, rank: int, sealed: bytes) -> Any:
        return pickle.loads(self._secret.open(_purpose(number, rank), sealed))  # noqa: S301 - sealed


def _purpose(number: int, rank: int) -> str:
    return f"object {number} of rank {rank}"
