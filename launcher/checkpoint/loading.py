"""Tensors from storage into memory.

Ranges are read straight into place and checked while they are read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

import torch

from launcher.checkpoint.blocks import DamagedError, Segment, read_file
from launcher.checkpoint.files import Files
from launcher.checkpoint.layout import TensorEntry
from launcher.checkpoint.staging_buffer import huge_pages
from launcher.checkpoint.state import TORCH_TYPES
from launcher.checkpoint.verification import Opened


def load_into(files: Files, opened: Opened, wanted: Mapping[str, torch.Tensor]) -> None:
    """Fill the wanted tensors, by name, from a commit.

    When it raises, the tensors hold anything: the caller fills them again from another commit, or
    gives up.

    Raises:
        DamagedError: bytes are not what was written.
        OSError: a file cannot be read.
    """
    segments: dict[str, list[Segment]] = defaultdict(list)
    copies: list[tuple[torch.Tensor, torch.Tensor]] = []
    for entry in opened.tensors:
        if entry.name not in wanted or entry.size_bytes == 0:
            continue
        place = wanted[entry.name].detach()
        for dim, (start, length) in enumerate(zip(entry.offsets, entry.lengths, strict=True)):
            place = place.narrow(dim, start, length)
        buffer = place
        if place.device.type != "cpu" or not place.is_contiguous():
            buffer = torch.empty(entry.lengths, dtype=place.dtype)
            copies.append((place, buffer))
        segments[entry.file].append(Segment(entry.offset, raw_bytes(buffer)))
    for name, parts in segments.items():
        try:
            read_file(files, opened.folder / name, opened.files[name], parts)
        except DamagedError as error:
            file = f"data/{opened.record.data}/{error.file}"
            raise DamagedError(file, error.problem, block=error.block) from error
    with torch.no_grad():
        for place, buffer in copies:
            place.copy_(buffer)


def make_room(
    opened: Opened,
    select: Callable[[str], bool],
    existing: Mapping[str, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """Return a tensor for every selected name in the commit.

    The existing one where it fits, else a new one on the host.
    """
    first = {entry.name: entry for entry in opened.tensors if select(entry.name)}
    found = {name: existing[name] for name in first if _fits(existing.get(name), first[name])}
    fresh = {name: entry for name, entry in first.items() if name not in found}
    sizes = {name: _aligned(entry.whole_bytes) for name, entry in fresh.items()}
    memory = huge_pages(max(1, sum(sizes.values())))
    position = 0
    for name, entry in fresh.items():
        part = memory[position : position + entry.whole_bytes]
        found[name] = part.view(TORCH_TYPES[entry.dtype]).view(entry.shape)
        position += sizes[name]
    return found


def raw_bytes(tensor: torch.Tensor) -> memoryview:
    """Return the bytes of a contiguous host tensor, writable."""
    return tensor.view(-1).view(torch.uint8).numpy().data


def _fits(tensor: torch.Tensor | None, entry: TensorEntry) -> bool:
    return (
        tensor is not None
        and tuple(tensor.shape) == entry.shape
        and tensor.dtype == TORCH_TYPES[entry.dtype]
    )


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // 64) * 64
