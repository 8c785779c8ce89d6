"""The buffer that saves are staged in."""

from __future__ import annotations

import threading
from typing import Any

import torch

from launcher.checkpoint.plan import Piece
from launcher.checkpoint.staging_buffer import StagingBuffer
from launcher.checkpoint.state import spec

TENSOR = torch.arange(1000, dtype=torch.float32).view(10, 100)


def piece(tensor: torch.Tensor, start: int, count: int) -> Piece:
    columns = tensor.shape[1]
    return Piece(spec=spec("t", tensor), offsets=(start, 0), lengths=(count, columns))


def staged(arena: StagingBuffer, pieces: list[Piece], tensor: torch.Tensor = TENSOR) -> list[float]:
    raw = bytes(arena.stage(pieces, {"t": tensor}))
    return torch.frombuffer(bytearray(raw), dtype=torch.float32).tolist()


def test_only_the_pieces_are_copied_one_after_the_other() -> None:
    found = staged(StagingBuffer(), [piece(TENSOR, 7, 2), piece(TENSOR, 0, 1)])
    assert found == [*TENSOR[7:9].flatten().tolist(), *TENSOR[0].tolist()]


def test_a_strided_tensor_is_staged_in_row_major_order() -> None:
    turned = TENSOR.t()
    assert staged(StagingBuffer(), [piece(turned, 5, 1)], turned) == TENSOR[:, 5].tolist()


def test_the_buffer_is_reused_and_grows_only_when_it_must() -> None:
    arena = StagingBuffer()
    staged(arena, [piece(TENSOR, 0, 1)])
    size = arena.size_bytes
    staged(arena, [piece(TENSOR, 0, 10)])
    assert arena.size_bytes == size
    large = torch.zeros(1, size)
    staged(arena, [piece(large, 0, 1)], large)
    assert arena.size_bytes >= 4 * size


def test_staging_waits_for_the_warm_up_which_would_wipe_what_is_staged() -> None:
    go = threading.Event()

    class Slow(StagingBuffer):
        def _warm_up(self, *args: Any, **options: Any) -> None:
            assert go.wait(30)
            super()._warm_up(*args, **options)

    arena = Slow()
    arena.warm_up(2**20, pinned=False)
    found: list[list[float]] = []
    thread = threading.Thread(target=lambda: found.append(staged(arena, [piece(TENSOR, 0, 10)])))
    thread.start()
    thread.join(0.2)
    assert found == [], "staged into a buffer that is still being prepared"
    go.set()
    thread.join(30)
    assert found == [TENSOR.flatten().tolist()]


def test_nothing_to_stage_is_nothing() -> None:
    assert bytes(StagingBuffer().stage([], {})) == b""
