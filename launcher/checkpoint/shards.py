"""The layout of one safetensors file: the header, then the pieces one after the other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from launcher.checkpoint.layout import TensorEntry
from launcher.checkpoint.plan import Piece

_ALIGNMENT = 64


@dataclass(frozen=True, kw_only=True)
class ShardLayout:
    """Header and entries of one file."""

    header: bytes
    entries: tuple[TensorEntry, ...]


def describe(pieces: Sequence[Piece], file: str, metadata: dict[str, str]) -> ShardLayout:
    """Return the layout of the pieces, in their order, in a file with the name `file`."""
    ends = list(accumulate((piece.size_bytes for piece in pieces), initial=0))
    header = encode_header(
        [
            (_label(piece), piece.spec.dtype, piece.lengths, (ends[index], ends[index + 1]))
            for index, piece in enumerate(pieces)
        ],
        metadata,
    )
    return ShardLayout(
        header=header,
        entries=tuple(
            TensorEntry(
                name=piece.spec.name,
                file=file,
                offset=len(header) + ends[index],
                dtype=piece.spec.dtype,
                shape=piece.spec.shape,
                offsets=piece.offsets,
                lengths=piece.lengths,
            )
            for index, piece in enumerate(pieces)
        ),
    )


def encode_header(
    tensors: Sequence[tuple[str, str, tuple[int, ...], tuple[int, int]]], metadata: dict[str, str]
) -> bytes:
    """Return length prefix and JSON header for tensors as (name, dtype, shape, byte range)."""
    table: dict[str, object] = {"__metadata__": metadata}
    for name, dtype, shape, (start, stop) in tensors:
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _label(piece: Piece) -> str:
    """Return the name of a piece in the file. For a part of a tensor, it has the ranges."""
    if piece.is_whole:
        return piece.spec.name
    pairs = zip(piece.offsets, piece.lengths, strict=True)
    return f"{piece.spec.name}[{','.join(f'{start}:{start + length}' for start, length in pairs)}]"
