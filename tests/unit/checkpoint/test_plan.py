"""Which rank writes what."""

from __future__ import annotations

import math
import random

import pytest

from launcher.checkpoint.plan import Piece, TensorSpec, boxes, share_out


def some_specs(seed: int) -> list[TensorSpec]:
    rng = random.Random(seed)
    dtypes = ["F32", "F32", "BF16", "I64", "U8", "BOOL"]
    shapes = [
        tuple(rng.randint(1, 40) for _ in range(rng.randint(0, 3)))
        for _ in range(rng.randint(1, 30))
    ]
    return [
        TensorSpec(name=f"t{index}", dtype=rng.choice(dtypes), shape=shape)
        for index, shape in enumerate(shapes)
    ]


def flat_indices(piece: Piece) -> list[int]:
    """Positions of a piece's elements in the whole tensor, in the order they are stored."""
    found = [0]
    for length, (start, count) in zip(
        piece.spec.shape, zip(piece.offsets, piece.lengths, strict=True), strict=True
    ):
        found = [at * length + index for at in found for index in range(start, start + count)]
    return found


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("seed", range(6))
def test_every_element_is_written_exactly_once(world_size: int, seed: int) -> None:
    specs = some_specs(seed)
    shares = share_out(specs, world_size)
    for spec in specs:
        written = [
            at
            for share in shares
            for piece in share
            if piece.spec == spec
            for at in flat_indices(piece)
        ]
        assert sorted(written) == list(range(math.prod(spec.shape)))


def test_one_large_tensor_is_halved_between_two_ranks() -> None:
    spec = TensorSpec(name="embedding", dtype="F32", shape=(30_522, 384))
    first, second = share_out([spec], 2)
    sizes = [sum(piece.size_bytes for piece in share) for share in (first, second)]
    assert abs(sizes[0] - sizes[1]) <= 2**20
    assert [piece.offsets for piece in (*first, *second)] == [(0, 0), (first[0].lengths[0], 0)]


def test_bytes_are_balanced_within_a_mebibyte_even_with_very_long_rows() -> None:
    specs = [TensorSpec(name=f"t{at}", dtype="F32", shape=(2, 5_000_000)) for at in range(3)]
    sizes = [sum(piece.size_bytes for piece in share) for share in share_out(specs, 4)]
    assert max(sizes) - min(sizes) <= 2 * 2**20


def test_the_plan_does_not_depend_on_the_order_of_the_tensors() -> None:
    specs = some_specs(3)
    shuffled = specs[::-1]
    assert share_out(specs, 3) == share_out(shuffled, 3)


def test_wide_elements_come_first_so_that_none_is_misaligned() -> None:
    for share in share_out(some_specs(5), 2):
        position = 0
        for piece in share:
            assert position % piece.spec.item_bytes == 0
            position += piece.size_bytes


def test_an_empty_tensor_is_written_by_rank_0() -> None:
    spec = TensorSpec(name="nothing", dtype="F32", shape=(0, 4))
    first, second = share_out([spec], 2)
    assert [piece.spec for piece in first] == [spec]
    assert second == ()


def test_a_range_inside_one_row_is_one_box() -> None:
    assert boxes((4, 6), 8, 11) == [((1, 2), (1, 3))]


def test_the_pieces_of_a_range_are_contiguous_and_in_order() -> None:
    shape = (3, 4, 5)
    for start in range(0, 60, 7):
        for stop in range(start + 1, 61, 5):
            spec = TensorSpec(name="t", dtype="U8", shape=shape)
            found = [
                at
                for offsets, lengths in boxes(shape, start, stop)
                for at in flat_indices(Piece(spec=spec, offsets=offsets, lengths=lengths))
            ]
            assert found == list(range(start, stop))
