"""Include, exclude, spares and head."""

import pytest

from launcher.errors import ConfigError
from launcher.nodes import Candidate, candidates
from launcher.nodes.selection import listing
from tests.nodes_request import nodes_request


def hosts(**changes: tuple[str, ...] | str) -> tuple[Candidate, ...]:
    asked = {"hosts": ("gpu[1-4]",), **changes}
    return candidates(nodes_request("hostfile", **asked)).hosts  # type: ignore[arg-type]


def names(**changes: tuple[str, ...] | str) -> list[str]:
    return [host.name for host in hosts(**changes)]


def test_include_keeps_the_order_of_the_hosts() -> None:
    assert names(include=("gpu4", "gpu[1-2]")) == ["gpu1", "gpu2", "gpu4"]


def test_exclude_takes_away() -> None:
    assert names(exclude=("gpu[2-3]",)) == ["gpu1", "gpu4"]
    assert names(include=("gpu1", "gpu2"), exclude=("gpu1",)) == ["gpu2"]


@pytest.mark.parametrize("key", ["include", "exclude", "head"])
def test_a_name_that_is_not_among_the_hosts_offers_the_nearest(key: str) -> None:
    value = "gqu4" if key == "head" else ("gpu1", "gqu4")
    with pytest.raises(ConfigError, match=f"cluster.{key}.*`gqu4`") as caught:
        hosts(**{key: value})
    assert "did you mean `gpu4`" in caught.value.hint


@pytest.mark.parametrize("spelling", ["GPU4", "gpu4.", "Gpu4."])
@pytest.mark.parametrize("key", ["include", "exclude", "spares", "head"])
def test_another_spelling_of_a_host_selects_it(key: str, spelling: str) -> None:
    plain, other = "gpu4", spelling
    if key == "head":
        assert hosts(head=other) == hosts(head=plain)
    else:
        assert hosts(**{key: (other,)}) == hosts(**{key: (plain,)})


def test_an_ipv6_address_can_be_excluded() -> None:
    found = names(hosts=("2001:db8::1", "2001:db8::2"), exclude=("[2001:DB8::2]",))
    assert found == ["2001:db8::1"]


def test_a_range_of_a_filter_that_cannot_be_read_is_told() -> None:
    with pytest.raises(ConfigError, match="backwards"):
        hosts(exclude=("gpu[4-1]",))


def test_single_devices_cannot_be_included() -> None:
    with pytest.raises(ConfigError, match="single devices"):
        hosts(include=("gpu1:0",))


def test_taking_all_away_is_an_error() -> None:
    with pytest.raises(ConfigError, match="leave no host"):
        hosts(exclude=("gpu[1-4]",))


def test_the_head_stands_first_and_places_are_counted_anew() -> None:
    found = hosts(head="gpu3")
    assert [host.name for host in found] == ["gpu3", "gpu1", "gpu2", "gpu4"]
    assert [host.node.node_rank for host in found] == [0, 1, 2, 3]


def test_spares_stand_last_whether_they_are_hosts_already_or_new() -> None:
    found = hosts(spares=("gpu2", "alice@extra:2222"))
    assert [(host.name, host.spare) for host in found] == [
        ("gpu1", False),
        ("gpu3", False),
        ("gpu4", False),
        ("gpu2", True),
        ("extra", True),
    ]
    assert found[-1].node.ssh == "alice@extra"


def test_a_spare_that_is_named_head_is_none() -> None:
    assert [host.spare for host in hosts(spares=("gpu2",), head="gpu2")] == [False] * 4


def test_a_sentence_names_only_the_first_of_very_many() -> None:
    assert listing(["a", "b"]) == "a, b"
    assert listing([str(n) for n in range(100)], most=2) == "0, 1 and 98 more"
