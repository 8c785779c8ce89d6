"""Which candidates become nodes, and with how many ranks."""

from collections.abc import Mapping

import pytest

from launcher.errors import ConfigError, PreflightError
from launcher.nodes import Candidates, Condition, NodesRequest, candidates, choose
from launcher.specs import Cluster
from tests.nodes_request import nodes_request

HOSTS = ("a", "b", "c", "d")
FIT = Condition(healthy=True, cpus=8)


def gpus(count: int, *, has_cuda: bool = True) -> Condition:
    devices = tuple(str(index) for index in range(count))
    return Condition(healthy=True, cpus=8, gpus=devices, has_cuda=has_cuda)


def ill(reason: str = "no answer") -> Condition:
    return Condition(healthy=False, reason=reason)


def offered(request: NodesRequest) -> Candidates:
    return candidates(request)


def chosen(
    conditions: Mapping[str, Condition] | None,
    at_least: int | None = None,
    hosts: tuple[str, ...] = HOSTS,
    **asked: object,
) -> Cluster:
    request = nodes_request("hostfile", hosts=hosts, **asked)  # type: ignore[arg-type]
    return choose(offered(request), conditions, request, at_least=at_least)


def all_fit(**but: Condition) -> dict[str, Condition]:
    return {**dict.fromkeys(HOSTS, FIT), **but}


def names(cluster: Cluster) -> list[str]:
    return [node.name for node in cluster.nodes]


def slots(cluster: Cluster) -> list[int]:
    return [node.slots for node in cluster.nodes]


def test_without_a_number_all_hosts_are_taken() -> None:
    assert names(chosen(all_fit())) == ["a", "b", "c", "d"]


def test_the_first_healthy_ones_are_taken_and_what_was_left_out_is_told() -> None:
    cluster = chosen(all_fit(b=ill("connection refused")), nodes=2)
    assert names(cluster) == ["a", "c"]
    assert [node.node_rank for node in cluster.nodes] == [0, 1]
    assert any("b is left out: connection refused" in note for note in cluster.notes)
    assert any("not used are d" in note for note in cluster.notes)


def test_too_few_healthy_ones_name_each_with_its_reason() -> None:
    with pytest.raises(PreflightError) as caught:
        chosen(all_fit(b=ill("no answer"), d=ill("no python")))
    assert "2 of 4" in caught.value.message
    assert "b: no answer" in caught.value.context
    assert "d: no python" in caught.value.context


def test_a_host_that_nobody_asked_is_not_healthy() -> None:
    with pytest.raises(PreflightError, match="0 of 4"):
        chosen({})


def test_a_restart_goes_on_with_what_is_left_down_to_the_least() -> None:
    lost = all_fit(a=ill("lost"), b=ill("lost"))
    cluster = chosen(lost, at_least=2, min_nodes=2)
    assert names(cluster) == ["c", "d"]
    assert any("going on with 2 of 4" in note for note in cluster.notes)
    with pytest.raises(PreflightError, match=r"cluster\.min_nodes=3"):
        chosen(lost, at_least=3)


@pytest.mark.parametrize("nodes", [None, 4])
def test_the_least_number_of_nodes_is_not_above_the_wanted(nodes: int | None) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.min_nodes=5, but the run has 4 nodes"):
        chosen(all_fit(), nodes=nodes, min_nodes=5)


def test_a_spare_is_used_only_in_place_of_another() -> None:
    assert names(chosen(all_fit(e=FIT), spares=("e",))) == ["a", "b", "c", "d"]
    cluster = chosen(all_fit(e=FIT, c=ill()), spares=("e",))
    assert names(cluster) == ["a", "b", "d", "e"]
    assert any("spares in use: e" in note for note in cluster.notes)


def test_asking_for_more_nodes_than_there_are_hosts_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="nodes=5, but cluster=hostfile has 4: a, b, c, d"):
        chosen(all_fit(), nodes=5)


def test_a_head_asked_for_by_name_is_not_silently_another_one() -> None:
    with pytest.raises(PreflightError, match=r"cluster\.head=c cannot be used: no answer"):
        chosen(all_fit(c=ill()), head="c", nodes=2)
    assert names(chosen(all_fit(c=ill()), head="c", at_least=1)) == ["a", "b", "d"]


def test_slots_are_those_of_the_command_line_then_of_the_file_then_the_gpus_then_one() -> None:
    hosts = ("a slots=3", "b")
    conditions = {"a": gpus(4), "b": gpus(2)}
    assert slots(chosen(conditions, hosts=hosts)) == [3, 2]
    assert slots(chosen(conditions, hosts=hosts, slots=1)) == [1, 1]
    assert slots(chosen(conditions, hosts=hosts, device="cpu")) == [3, 1]


def test_a_head_without_ranks_stays_without_whatever_the_command_line_says() -> None:
    hosts = ("a slots=0", "b", "c")
    cluster = chosen({"a": FIT, "b": gpus(2), "c": gpus(2)}, hosts=hosts, slots=2)
    assert slots(cluster) == [0, 2, 2]
    assert cluster.head.gpus == ()


def test_more_ranks_than_a_host_permits_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="4 ranks on b, which takes at most 2"):
        chosen(None, hosts=("a", "b max_slots=2"), slots=4)


def test_gpus_beyond_what_a_host_permits_stay_unused() -> None:
    cluster = chosen({"a": gpus(4)}, hosts=("a max_slots=2",))
    assert (cluster.head.slots, cluster.head.gpus) == (2, ("0", "1"))


def test_a_cluster_without_any_rank_is_refused() -> None:
    with pytest.raises(ConfigError, match="no node takes a rank"):
        chosen(None, hosts=("a slots=0", "b slots=0"))


def test_a_node_gets_as_many_of_its_gpus_as_it_has_ranks() -> None:
    cluster = chosen({"a": gpus(4), "b": gpus(4)}, hosts=("a slots=2", "b"))
    assert [node.gpus for node in cluster.nodes] == [("0", "1"), ("0", "1", "2", "3")]


def test_cuda_names_the_nodes_without_gpus_and_those_with_a_cpu_torch() -> None:
    with pytest.raises(PreflightError, match="no GPU on b, d"):
        chosen({"a": gpus(1), "b": FIT, "c": gpus(1), "d": FIT}, device="cuda")
    with pytest.raises(PreflightError, match="CPU build on b"):
        chosen({"a": gpus(1), "b": gpus(1, has_cuda=False)}, hosts=("a", "b"), device="cuda")


def test_auto_does_not_mix_devices() -> None:
    with pytest.raises(PreflightError, match="not b"):
        chosen({"a": gpus(1), "b": FIT}, hosts=("a", "b"))
    cpu = chosen({"a": gpus(1, has_cuda=False), "b": FIT}, hosts=("a", "b"))
    assert [node.gpus for node in cpu.nodes] == [(), ()]


def test_what_the_nodes_said_stands_in_the_cluster() -> None:
    told = Condition(healthy=True, cpus=3, address="10.0.0.5", interface="ib0")
    node = chosen({"a": told}, hosts=("alice@a:2222",)).head
    assert (node.address, node.interface, node.cpus) == ("10.0.0.5", "ib0", 3)
    assert (node.ssh, node.ssh_port) == ("alice@a", 2222)


def test_unasked_hosts_count_as_healthy_and_their_names_as_addresses() -> None:
    cluster = chosen(None, hosts=("a slots=2", "b"))
    assert [(node.address, node.slots, node.gpus) for node in cluster.nodes] == [
        ("a", 2, ()),
        ("b", 1, ()),
    ]


def test_unasked_hosts_are_believed_to_have_the_gpus_that_cuda_needs() -> None:
    cluster = chosen(None, hosts=("a slots=2", "b"), device="cuda")
    assert [node.gpus for node in cluster.nodes] == [("0", "1"), ("0",)]


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1", "127.0.1.1", "::1"])
def test_a_loopback_address_among_others_is_refused(address: str) -> None:
    with pytest.raises(PreflightError, match="which the other nodes cannot reach"):
        chosen(None, hosts=("a", address))
    assert names(chosen(None, hosts=(address,))) == [address]


def test_one_machine_under_two_names_is_refused() -> None:
    here = Condition(healthy=True, address="10.0.0.5")
    with pytest.raises(PreflightError, match=r"a and b are one machine, 10\.0\.0\.5"):
        chosen({"a": here, "b": here}, hosts=("a", "b"))
