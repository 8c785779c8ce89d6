"""One global cursor for any number of ranks."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from launcher.checkpoint import DataCursor, GlobalSampler, share
from launcher.errors import ConfigError, UnknownNameError


@pytest.mark.parametrize("seed", range(8))
def test_every_sample_comes_once_per_epoch_while_the_world_changes(seed: int) -> None:
    rng = random.Random(seed)
    sampler = GlobalSampler(rng.randint(1, 300), rng.randint(1, 40))
    cursor = DataCursor(seed=seed)
    seen: dict[int, Counter[int]] = {0: Counter(), 1: Counter(), 2: Counter()}
    while cursor.epoch < 3:
        world_size = rng.randint(
            1, 7
        )  # as if the run were resumed with another world at every step
        ids, following = sampler.batch(cursor)
        parts = [share(ids, rank, world_size) for rank in range(world_size)]
        assert [item for part in parts for item in part] == ids
        seen[cursor.epoch].update(ids)
        cursor = following
    for counted in seen.values():
        assert counted == Counter(range(sampler.size))


def test_the_batch_at_a_cursor_is_always_the_same() -> None:
    cursor = DataCursor(epoch=3, samples=40, seed=5)
    assert GlobalSampler(100, 8).batch(cursor) == GlobalSampler(100, 8).batch(cursor)


def test_the_last_batch_of_an_epoch_is_short_and_the_next_epoch_begins() -> None:
    ids, following = GlobalSampler(10, 4).batch(DataCursor(samples=8))
    assert len(ids) == 2
    assert (following.epoch, following.samples) == (1, 0)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    sampler = GlobalSampler(50, 50)
    orders = [sampler.batch(DataCursor(epoch=e, seed=s))[0] for e, s in [(0, 0), (1, 0), (0, 1)]]
    assert len({tuple(order) for order in orders}) == 3


def test_the_shuffle_never_changes() -> None:
    """A run that is resumed years later, with a newer numpy, must continue in the same order."""
    ids, _ = GlobalSampler(12, 12).batch(DataCursor(epoch=1, seed=42))
    assert ids == PINNED


PINNED = [4, 10, 9, 5, 3, 0, 11, 2, 7, 1, 6, 8]


def test_none_v1_keeps_the_order() -> None:
    ids, _ = GlobalSampler(5, 5).batch(DataCursor(permutation="none-v1"))
    assert ids == [0, 1, 2, 3, 4]


def test_shares_are_balanced_and_may_be_empty() -> None:
    assert [share([1, 2, 3], rank, 5) for rank in range(5)] == [[], [1], [], [2], [3]]
    assert [len(share(list(range(10)), rank, 4)) for rank in range(4)] == [2, 3, 2, 3]


def test_an_unknown_permutation_is_named() -> None:
    with pytest.raises(UnknownNameError, match="philox-v9") as caught:
        GlobalSampler(5, 5).batch(DataCursor(permutation="philox-v9"))
    assert "philox-v1" in caught.value.hint


def test_a_cursor_of_a_larger_data_set_is_refused() -> None:
    with pytest.raises(ConfigError, match="sample 60 of an epoch of only 50"):
        GlobalSampler(50, 5).batch(DataCursor(samples=60))


@pytest.mark.parametrize(("size", "batch"), [(0, 4), (4, 0)])
def test_nothing_to_sample_is_refused(size: int, batch: int) -> None:
    with pytest.raises(ConfigError):
        GlobalSampler(size, batch)
