"""A sum of parts is bitwise the same however the parts are shared out over ranks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from launcher.runtime.engines.ordered_sum import OrderedSum, parts_of


class Ether:
    """Carries tensors between ranks that are threads; all of them broadcast in the same order."""

    def __init__(self, world_size: int) -> None:
        self._barrier = threading.Barrier(world_size, timeout=60)
        self._sent: list[torch.Tensor] = []
        self.broadcasts = 0

    def of(self, rank: int) -> object:
        def broadcast(tensor: torch.Tensor, root: int) -> torch.Tensor:
            if rank == root:
                self._sent.append(tensor.clone())
                self.broadcasts += 1
            self._barrier.wait()
            found = self._sent[-1].clone()
            self._barrier.wait()
            return found

        return broadcast


def summed(parts: list[torch.Tensor], world_size: int) -> tuple[list[torch.Tensor], int]:
    """Return what each rank has as the sum, and how many broadcasts it took."""
    ether = Ether(world_size)

    def be(rank: int) -> torch.Tensor:
        adding = OrderedSum(len(parts), rank=rank, world_size=world_size)
        for number in parts_of(rank, world_size, len(parts)):
            adding.add(parts[number].clone())
        return adding.total(ether.of(rank))  # type: ignore[arg-type]

    with ThreadPoolExecutor(world_size) as ranks:
        return list(ranks.map(be, range(world_size))), ether.broadcasts


def unequal(count: int) -> list[torch.Tensor]:
    """Numbers of very different sizes, so that their sum depends on the order."""
    drawn = torch.Generator().manual_seed(count)
    return [torch.randn(200, generator=drawn) * 10 ** (number % 5) for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5, 8, 12])
def test_the_sum_has_the_same_bits_at_every_number_of_ranks(count: int) -> None:
    parts = unequal(count)
    (expected,), _ = summed(parts, 1)
    torch.testing.assert_close(expected, torch.stack(parts).sum(0), rtol=1e-4, atol=1e-2)
    for world_size in range(2, count + 1):
        found, _ = summed(parts, world_size)
        assert all(torch.equal(each, expected) for each in found), world_size


def test_another_order_would_have_given_other_bits() -> None:
    """Without this the test above would prove nothing."""
    parts = unequal(8)
    (expected,), _ = summed(parts, 1)
    assert not torch.equal(sum(parts[1:], parts[0]), expected)


@pytest.mark.parametrize(("world_size", "broadcasts"), [(1, 1), (2, 2), (3, 5), (4, 4), (8, 8)])
def test_a_rank_adds_its_own_parts_before_it_sends_them(world_size: int, broadcasts: int) -> None:
    assert summed(unequal(8), world_size)[1] == broadcasts


def test_parts_are_neighbours_and_evenly_shared_out() -> None:
    assert [list(parts_of(rank, 3, 8)) for rank in range(3)] == [[0, 1], [2, 3, 4], [5, 6, 7]]
