"""The bytes of one safetensors file: header first, then the pieces one after the other."""

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
    """What one file will hold."""

    header: bytes
    entries: tuple[TensorEntry, ...]

    @property
    def size_bytes(self) -> int:
        return len(self.header) + self.payload_bytes

    @property
    def payload_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.entries)


def describe(pieces: Sequence[Piece], file: str, metadata: dict[str, str]) -> ShardLayout:
    """Lay out the pieces in a file called `file`, in the order given."""
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
    """Return the length prefix and the JSON header of (name, dtype, shape, byte range) tensors."""
    table: dict[str, object] = {"__metadata__": metadata}
    for name, dtype, shape, (start, stop) in tensors:
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _label(piece: Piece) -> str:
    """Return the name of a piece inside the file: a part of a tensor shows its place."""
    if piece.is_whole:
        return piece.spec.name
    pairs = zip(piece.offsets, piece.lengths, strict=True)
    return f"{piece.spec.name}[{','.join(f'{start}:{start + length}' for start, length in pairs)}]"
