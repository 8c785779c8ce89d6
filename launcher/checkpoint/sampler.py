"""One global data cursor, from which any number of ranks derives its share.

The cursor counts samples of the global order, so it means the same with every world size and
engine. The batch at a cursor is a pure function of the cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from launcher.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Order = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class DataCursor:
    """The position of a run in its data."""

    epoch: int = 0
    samples: int = 0
    """Samples of this epoch used so far, over all ranks."""
    seed: int = 0
    permutation: str = "philox-v1"
    """Algorithm that orders an epoch: `philox-v1` shuffles, `none-v1` keeps the order."""

    def __post_init__(self) -> None:
        if self.epoch < 0 or self.samples < 0:
            raise ConfigError(
                f"a data cursor cannot be negative: epoch {self.epoch}, sample {self.samples}",
                hint="start with DataCursor(seed=...), then use what GlobalSampler returns",
            )


class GlobalSampler:
    """Cuts epochs of `size` samples into global batches.

    Every sample occurs once per epoch. The last batch may be short.
    """

    def __init__(self, size: int, batch_size: int) -> None:
        if size < 1 or batch_size < 1:
            raise ConfigError(
                f"cannot make batches of {batch_size} out of {size} samples",
                hint="check that the data set is not empty and that train.batch_size is at least 1",
            )
        self.size = size
        self.batch_size = batch_size

    def batch(self, cursor: DataCursor) -> tuple[list[int], DataCursor]:
        """Return the ids of the global batch at `cursor`, and the cursor of the next batch."""
        if cursor.samples >= self.size:
            raise ConfigError(
                f"the cursor is at sample {cursor.samples} of an epoch of only {self.size}",
                hint="the checkpoint is of another data set; use the same data=, or a new run_id",
            )
        stop = min(cursor.samples + self.batch_size, self.size)
        order = _order(cursor.permutation, cursor.seed, cursor.epoch, self.size)
        ids: list[int] = order[cursor.samples : stop].tolist()
        done = stop == self.size
        return ids, DataCursor(
            epoch=cursor.epoch + done,
            samples=0 if done else stop,
            seed=cursor.seed,
            permutation=cursor.permutation,
        )


def share(ids: Sequence[int], rank: int, world_size: int) -> list[int]:
    """Return the contiguous part of a global batch for `rank`.

    Sizes differ by at most 1 and may be 0.
    """
    start, stop = (len(ids) * at // world_size for at in (rank, rank + 1))
    return list(ids[start:stop])


@lru_cache(maxsize=4)
def _order(permutation: str, seed: int, epoch: int, size: int) -> Order:
    try:
        make = _PERMUTATIONS[permutation]
    except KeyError:
        raise UnknownNameError("permutation", permutation, _PERMUTATIONS) from None
    return make(seed, epoch, size)


def _philox(seed: int, epoch: int, size: int) -> Order:
    """Sort the samples by 64 random bits each.

    This uses the raw stream of Philox, which numpy promises never to change. It does not promise
    this for `shuffle` and `permutation`.
    """
    import numpy as np  # noqa: PLC0415 - keeps `checkpoints ls` quick

    key = [seed % 2**64, epoch]
    bits = np.random.Philox(key=np.array(key, dtype=np.uint64)).random_raw(size)
    return np.argsort(bits, kind="stable").astype(np.int64)


def _in_place(_seed: int, _epoch: int, size: int) -> Order:
    import numpy as np  # noqa: PLC0415

    return np.arange(size, dtype=np.int64)


_PERMUTATIONS: Mapping[str, Callable[[int, int, int], Order]] = MappingProxyType(
    {"philox-v1": _philox, "none-v1": _in_place}
)
