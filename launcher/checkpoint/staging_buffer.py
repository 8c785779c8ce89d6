"""The host buffer that a save is staged in.

As large as what this rank writes, allocated once, reused.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Mapping, Sequence

import torch

from launcher.checkpoint.plan import Piece
from launcher.checkpoint.state import TORCH_TYPES

_TOUCH_BYTES = 16 * 2**20
_GROWTH_BYTES = 2 * 2**20  # also the size of a huge page


class StagingBuffer:
    """Holds the bytes of one save. The training loop may go on as soon as `stage` has returned."""

    def __init__(self) -> None:
        self._bytes = torch.empty(0, dtype=torch.uint8)
        self._warming: threading.Thread | None = None
        self._needed = threading.Event()

    @property
    def size_bytes(self) -> int:
        return self._bytes.numel()

    def stage(self, pieces: Sequence[Piece], tensors: Mapping[str, torch.Tensor]) -> memoryview:
        """Copy the pieces, one after the other, and return their bytes.

        The view is valid until the next call.
        """
        total = sum(piece.size_bytes for piece in pieces)
        on_device = any(tensors[piece.spec.name].is_cuda for piece in pieces)
        self._settle()
        self._reserve(total, pinned=on_device)
        position = 0
        with torch.no_grad():
            for piece in pieces:
                source = tensors[piece.spec.name]
                for dim, (start, length) in enumerate(
                    zip(piece.offsets, piece.lengths, strict=True)
                ):
                    source = source.narrow(dim, start, length)
                stop = position + piece.size_bytes
                place = self._bytes[position:stop].view(TORCH_TYPES[piece.spec.dtype])
                place.view(piece.lengths).copy_(source, non_blocking=True)
                position = stop
        if on_device:
            torch.cuda.synchronize()
        return self._bytes.numpy().data[:total]

    def warm_up(self, size_bytes: int, *, pinned: bool) -> None:
        """Get the buffer ready in the background, so that the first save does not wait for memory.

        Handing out pages that were never touched costs about as much as writing them to a disk.
        """
        self._settle()
        self._warming = threading.Thread(
            target=self._warm_up, args=(size_bytes, pinned), name="checkpoint-memory", daemon=True
        )
        self._warming.start()

    def _warm_up(self, size_bytes: int, pinned: bool) -> None:  # noqa: FBT001 - a thread's target
        try:
            self._reserve(size_bytes, pinned=pinned)
        except (OSError, RuntimeError):  # no memory: the save itself will say so
            return
        for start in range(0, self.size_bytes, _TOUCH_BYTES):  # torch lets go of the GIL meanwhile
            if self._needed.is_set():
                return
            self._bytes[start : start + _TOUCH_BYTES].zero_()

    def _settle(self) -> None:
        """End the preparation, finished or not: what is untouched is touched by the copy itself."""
        if self._warming is not None:
            self._needed.set()
            self._warming.join()
            self._warming = None
            self._needed.clear()

    def _reserve(self, size_bytes: int, *, pinned: bool) -> None:
        if self.size_bytes >= size_bytes and (not pinned or self._bytes.is_pinned()):
            return
        rounded = -(-max(size_bytes, 1) // _GROWTH_BYTES) * _GROWTH_BYTES
        self._bytes = torch.empty(0, dtype=torch.uint8)  # give the old one back first
        self._bytes = _pinned(rounded) if pinned else _anonymous(rounded)


def huge_pages(size_bytes: int, *, keep_from_children: bool = False) -> torch.Tensor:
    """Return fresh bytes, in large pages where the kernel has them.

    Touching them for the first time is some ten times cheaper than with small pages.

    Args:
        size_bytes: at least 1.
        keep_from_children: leave the memory out of forked children (data loader workers), so that
            writing to it never copies pages.
    """
    memory = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    advice = [mmap.MADV_HUGEPAGE] + ([mmap.MADV_DONTFORK] if keep_from_children else [])
    for kind in advice:
        try:
            memory.madvise(kind)
        except OSError:  # a kernel without it: slower, not wrong
            continue
    return torch.frombuffer(memory, dtype=torch.uint8)


def _anonymous(size_bytes: int) -> torch.Tensor:
    return huge_pages(size_bytes, keep_from_children=True)


def _pinned(size_bytes: int) -> torch.Tensor:
    return torch.empty(size_bytes, dtype=torch.uint8, pin_memory=True)
