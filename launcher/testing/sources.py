"""What every source of nodes must do: its candidates can be reached, and become a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from launcher import nodes
from launcher.errors import ConfigError
from launcher.nodes import Candidates, Condition, Machine, NodesRequest
from launcher.nodes.config import ClusterConfig
from launcher.nodes.source import SOURCES
from launcher.specs import Cluster, from_json, to_json
from launcher.transports import TRANSPORTS

__all__ = ["SourceContract"]


class SourceContract:
    """Subclass it as `class TestMine(SourceContract)`, set `source`, and offer four machines.

    Override `cluster` if keys of `cluster.*` name the machines, and `environ` if variables or a
    file do. No machine is contacted.
    """

    source: ClassVar[str]
    """What the user types: `cluster=NAME`."""

    def cluster(self, folder: Path) -> ClusterConfig:
        """Return the settings with which the source offers four machines; `folder` is empty."""
        return ClusterConfig(name=self.source)

    def environ(self, folder: Path) -> Mapping[str, str]:
        """Return the variables with which the source offers four machines."""
        return {}

    @pytest.fixture
    def offer(self, tmp_path: Path) -> _Offer:
        return _Offer(self.cluster(tmp_path), self.environ(tmp_path))

    def test_the_row_names_a_transport_that_exists(self) -> None:
        row = SOURCES[self.source]
        assert row.name == self.source
        assert row.transport in TRANSPORTS.names()

    def test_candidates_have_unique_names_and_their_position_as_node_rank(
        self, offer: _Offer
    ) -> None:
        candidates = offer.candidates()
        assert len({host.name for host in candidates.hosts}) == 4
        assert [node.node_rank for node in candidates.nodes] == [0, 1, 2, 3]
        assert candidates.source == self.source

    def test_the_same_request_has_the_same_candidates(self, offer: _Offer) -> None:
        assert offer.candidates() == offer.candidates()

    def test_the_cluster_has_as_many_nodes_as_requested(self, offer: _Offer) -> None:
        cluster = offer.choose()
        assert [node.node_rank for node in cluster.nodes] == [0, 1, 2, 3]
        assert all(node.address and node.cpus >= 1 and node.slots >= 1 for node in cluster.nodes)
        assert cluster.source == self.source

    def test_fewer_nodes_are_the_first_ones(self, offer: _Offer) -> None:
        names = [host.name for host in offer.candidates(2).hosts]
        assert [node.name for node in offer.choose(2).nodes] == names[:2]

    def test_slots_of_the_command_line_apply_to_every_node(self, offer: _Offer) -> None:
        assert [node.slots for node in offer.choose(slots=3).nodes] == [3, 3, 3, 3]

    def test_a_cpu_run_has_no_gpus(self, offer: _Offer) -> None:
        assert {node.gpus for node in offer.choose(device="cpu").nodes} == {()}

    def test_a_cluster_round_trips_through_json(self, offer: _Offer) -> None:
        cluster = offer.choose()
        assert from_json(Cluster, to_json(cluster)) == cluster

    def test_an_unhealthy_candidate_is_not_used(self, offer: _Offer) -> None:
        candidates = offer.candidates()
        first, *rest = candidates.hosts
        conditions = {host.name: Condition(healthy=True, address=host.name) for host in rest}
        conditions[first.name] = Condition(healthy=False, reason="no answer")
        cluster = nodes.choose(candidates, conditions, offer.request(), at_least=1)
        assert [node.name for node in cluster.nodes] == [host.name for host in rest]

    def test_more_nodes_than_it_has_are_refused(self, offer: _Offer) -> None:
        if SOURCES[self.source].one_machine or not SOURCES[self.source].real:
            pytest.skip("it has as many nodes as requested")
        with pytest.raises(ConfigError, match="nodes=5"):
            offer.choose(5)


class _Offer:
    """A source with four machines."""

    def __init__(self, cluster: ClusterConfig, environ: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._environ = environ

    def request(
        self, count: int = 4, *, slots: int | None = None, device: str = "auto"
    ) -> NodesRequest:
        return NodesRequest(cluster=self._cluster, nodes=count, slots=slots, device=device)

    def candidates(self, count: int = 4) -> Candidates:
        return nodes.candidates(self.request(count), Machine(cpus=8), self._environ)

    def choose(self, count: int = 4, *, slots: int | None = None, device: str = "auto") -> Cluster:
        request = self.request(count, slots=slots, device=device)
        candidates = nodes.candidates(request, Machine(cpus=8), self._environ)
        return nodes.choose(candidates, None, request)
