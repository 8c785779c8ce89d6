"""What every source keeps to: somebody reaches its candidates, and `choose` deals out the ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from launcher.errors import ConfigError
from launcher.nodes import Candidates, ClusterRequest, Condition, Machine, candidates, choose
from launcher.nodes.source import SOURCES
from launcher.specs import Cluster, Node, from_json, to_json


@dataclass(frozen=True, kw_only=True)
class Case:
    """How a source is asked for four nodes."""

    request: ClusterRequest
    environ: Mapping[str, str] = field(default_factory=dict)

    def offer(self, **changes: object) -> Candidates:
        request = replace(self.request, **changes)  # type: ignore[arg-type]
        return candidates(request, Machine(cpus=8), self.environ)

    def choose(self, **changes: object) -> Cluster:
        request = replace(self.request, **changes)  # type: ignore[arg-type]
        return choose(self.offer(**changes), None, request)


CASES: Mapping[str, Case] = {
    "hostfile": Case(request=ClusterRequest(source="hostfile", nodes=4, hosts=("gpu[1-4]",))),
    "local": Case(request=ClusterRequest(source="local", nodes=4)),
    "sim": Case(request=ClusterRequest(source="sim", nodes=4)),
    "slurm": Case(
        request=ClusterRequest(source="slurm", nodes=4),
        environ={"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "host[1-4]"},
    ),
}


@pytest.fixture(params=sorted(SOURCES.built_in))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def test_candidates_have_names_of_their_own_and_their_places_as_ranks(case: Case) -> None:
    offered = case.offer()
    assert len({host.name for host in offered.hosts}) == 4
    assert [node.node_rank for node in offered.nodes] == [0, 1, 2, 3]
    assert offered.source == case.request.source


def test_the_same_question_gets_the_same_answer(case: Case) -> None:
    assert case.offer() == case.offer()


def test_the_cluster_has_the_nodes_asked_for_each_with_an_address_and_a_core(case: Case) -> None:
    cluster = case.choose()
    assert [node.node_rank for node in cluster.nodes] == [0, 1, 2, 3]
    assert all(node.address and node.cpus >= 1 and node.slots >= 1 for node in cluster.nodes)
    assert cluster.source == case.request.source


def test_fewer_nodes_are_the_first_ones(case: Case) -> None:
    assert len(case.choose(nodes=2).nodes) == 2


def test_slots_of_the_command_line_hold_for_every_node(case: Case) -> None:
    assert [node.slots for node in case.choose(slots=3).nodes] == [3, 3, 3, 3]


def test_a_cpu_run_has_no_gpus(case: Case) -> None:
    assert {node.gpus for node in case.choose(device="cpu").nodes} == {()}


def test_a_cluster_round_trips_through_json(case: Case) -> None:
    cluster = case.choose()
    assert from_json(Cluster, to_json(cluster)) == cluster


def test_a_candidate_that_is_not_healthy_is_not_used(case: Case) -> None:
    offered = case.offer(nodes=None) if case.request.source == "slurm" else case.offer()
    first, *rest = offered.hosts
    conditions = {host.name: _fit(host.node) for host in rest}
    conditions[first.name] = Condition(healthy=False, reason="no answer")
    cluster = choose(offered, conditions, case.request, at_least=1)
    assert [node.name for node in cluster.nodes] == [host.name for host in rest]


def _fit(node: Node) -> Condition:
    return Condition(healthy=True, address=node.name)


MANY: Mapping[str, Callable[[], Candidates]] = {
    "hostfile": lambda: candidates(ClusterRequest(source="hostfile", hosts=("n[0001-9999]",))),
    "slurm": lambda: candidates(
        ClusterRequest(source="slurm"),
        environ={"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n[0001-9999]"},
    ),
}


@pytest.mark.parametrize("source", MANY)
def test_ten_thousand_hosts_are_many_but_not_too_many(source: str) -> None:
    assert len(MANY[source]().hosts) == 9999


@pytest.mark.parametrize("source", ["hostfile", "slurm"])
def test_more_nodes_than_there_are_is_a_mistake_of_the_user(source: str) -> None:
    with pytest.raises(ConfigError, match="nodes=5"):
        CASES[source].choose(nodes=5)
