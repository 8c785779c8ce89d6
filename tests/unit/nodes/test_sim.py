"""Nodes that only pretend."""

import pytest

from launcher.errors import ConfigError
from launcher.nodes import Machine, require_real, resolve
from tests.nodes_request import nodes_request


def test_every_pretended_node_has_a_name_and_an_address_of_its_own() -> None:
    cluster = resolve(nodes_request("sim", nodes=1000, slots=8), Machine(cpus=4))
    assert len({node.name for node in cluster.nodes}) == 1000
    assert len({node.address for node in cluster.nodes}) == 1000
    assert cluster.world_size == 8000
    assert any("do not exist" in note for note in cluster.notes)


def test_cuda_gives_every_pretended_rank_a_gpu() -> None:
    request = nodes_request("sim", nodes=2, slots=8, device="cuda")
    assert len(resolve(request, Machine(cpus=4)).head.gpus) == 8


def test_nothing_can_be_started_on_them() -> None:
    with pytest.raises(ConfigError, match="do not exist") as caught:
        require_real("sim")
    assert "plan cluster=sim" in caught.value.hint
    for source in ("local", "hostfile", "slurm"):
        require_real(source)
