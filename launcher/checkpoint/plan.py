"""Which rank writes what: a pure function of the shapes of the tensors and the number of ranks.

Replicated state is equal on every rank, so one rank writes each byte. All tensors are put in a
row, ordered by element width (which keeps every piece aligned in its file) and name, and the row is
cut into equal parts. A cut inside a tensor moves back to the start of a row of the tensor, or of a
sub-row if rows are long. Every rank computes the same plan without communication.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from launcher.checkpoint.layout import ITEM_BYTES

_CUT_MAX_BYTES = 2**20
_CUT_MIN_BYTES = 2**12


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """What the plan needs to know about a tensor."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def item_bytes(self) -> int:
        return ITEM_BYTES[self.dtype]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * self.item_bytes


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A box of a tensor whose elements are contiguous in the whole tensor."""

    spec: TensorSpec
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.lengths) * self.spec.item_bytes

    @property
    def is_whole(self) -> bool:
        return self.lengths == self.spec.shape


def whole(spec: TensorSpec) -> Piece:
    """Return a piece that is a whole tensor."""
    return Piece(spec=spec, offsets=(0,) * len(spec.shape), lengths=spec.shape)


def in_file_order(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Order the pieces of one file: wide elements first, so that all are aligned."""
    return tuple(
        sorted(pieces, key=lambda piece: (-piece.spec.item_bytes, piece.spec.name, piece.offsets))
    )


def share_out(specs: Iterable[TensorSpec], world_size: int) -> tuple[tuple[Piece, ...], ...]:
    """Return the pieces that each rank writes. Together they have every element exactly once."""
    ordered = sorted(specs, key=lambda spec: (-spec.item_bytes, spec.name))
    total = sum(spec.size_bytes for spec in ordered)
    bounds = [total * rank // world_size for rank in range(world_size + 1)]
    coarse = min(_CUT_MAX_BYTES, max(_CUT_MIN_BYTES, total // (64 * world_size)))
    shares: list[list[Piece]] = [[] for _ in range(world_size)]
    position = 0
    for spec in ordered:
        if spec.size_bytes == 0:
            shares[0].append(whole(spec))
        cuts = [_cut(spec, bound - position, coarse) for bound in bounds]
        for share, (start, stop) in zip(shares, pairwise(cuts), strict=True):
            if start < stop:
                share.extend(
                    Piece(spec=spec, offsets=offsets, lengths=lengths)
                    for offsets, lengths in boxes(spec.shape, start, stop)
                )
        position += spec.size_bytes
    return tuple(in_file_order(share) for share in shares)


def boxes(
    shape: Sequence[int], start: int, stop: int
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Cut the flat range of elements from `start` to `stop` into boxes (offsets, lengths).

    >>> boxes((4, 3), 2, 11)
    [((0, 2), (1, 1)), ((1, 0), (2, 3)), ((3, 0), (1, 2))]
    """
    if not shape:
        return [((), ())]
    inner = tuple(shape[1:])
    row = math.prod(inner)
    (first, lead), (last, tail) = divmod(start, row), divmod(stop, row)
    if first == last:
        return _inside(first, boxes(inner, lead, tail))
    result = []
    if lead:
        result += _inside(first, boxes(inner, lead, row))
        first += 1
    if first < last:
        result.append(((first, *(0 for _ in inner)), (last - first, *inner)))
    if tail:
        result += _inside(last, boxes(inner, 0, tail))
    return result


def _inside(
    row: int, pieces: list[tuple[tuple[int, ...], tuple[int, ...]]]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [((row, *offsets), (1, *lengths)) for offsets, lengths in pieces]


def _cut(spec: TensorSpec, position: int, coarse: int) -> int:
    """Return the element of the tensor where a cut at byte `position` goes."""
    count = math.prod(spec.shape)
    if position <= 0:
        return 0
    if position >= spec.size_bytes:
        return count
    unit = count
    for length in spec.shape:
        if unit * spec.item_bytes <= coarse:
            break
        unit //= length
    return position // spec.item_bytes // unit * unit
