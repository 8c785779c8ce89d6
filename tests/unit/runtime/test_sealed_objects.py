"""Objects from the network: unpickled only if a rank of this attempt sent them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import TrainingError
from launcher.runtime.engines.sealed_objects import SealedObjects
from launcher.runtime.run_secret import RunSecret
from launcher.specs.secrets import RUN_SECRET

OURS = "a" * 64


class Wire(SealedObjects):
    """Rank 0 of 2; `arrives` is what comes over the network from rank 1."""

    rank = 0

    def __init__(self) -> None:
        super().__init__()
        self.arrives = b""

    def _broadcast_bytes(self, own: bytes, root: int) -> bytes:
        return self.arrives

    def _gather_bytes(self, own: bytes) -> list[bytes]:
        return [own, self.arrives]


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    monkeypatch.setenv(RUN_SECRET, OURS)
    return Wire()


def sealed(obj: object, number: int = 0, rank: int = 1, secret: str = OURS) -> bytes:
    return RunSecret(secret).seal(f"object {number} of rank {rank}", pickle.dumps(obj))


def test_objects_of_peers_arrive(wire: Wire) -> None:
    wire.arrives = sealed({"from": 1})
    assert wire.all_gather_object({"from": 0}) == [{"from": 0}, {"from": 1}]
    wire.arrives = sealed("next", number=1)
    assert wire.broadcast_object(None, 1) == "next"
    assert wire.broadcast_object("own") == "own"


@pytest.mark.parametrize("collective", ["all_gather_object", "broadcast_object"])
@pytest.mark.parametrize(
    "forge",
    [
        pickle.dumps,
        lambda bomb: sealed(bomb, secret=""),
        lambda bomb: sealed(bomb, secret="b" * 64),
        lambda bomb: sealed(bomb, number=1),
        lambda bomb: sealed(bomb, rank=0),
    ],
    ids=["no seal", "no secret", "another attempt", "another message", "another rank"],
)
def test_what_a_stranger_sent_is_refused_and_never_unpickled(
    wire: Wire, tmp_path: Path, collective: str, forge: Any
) -> None:
    wire.arrives = forge(Bomb(tmp_path / "exploded"))
    with pytest.raises(TrainingError, match="refused object 0 of rank 1"):
        getattr(wire, collective)(*(["x"] if collective.startswith("all") else ["x", 1]))
    assert not (tmp_path / "exploded").exists()
    pickle.loads(wire.arrives[32:] if forge is not pickle.dumps else wire.arrives)
    assert (tmp_path / "exploded").exists()  # it would have


def test_a_handshake_fails_if_one_rank_does_not_know_the_secret(wire: Wire) -> None:
    wire.arrives = sealed(None, secret="b" * 64)
    with pytest.raises(TrainingError, match="of rank 1"):
        wire.after_handshake()
