"""Include, exclude, spares and head."""

import pytest

from launcher.errors import ConfigError
from launcher.nodes import Candidate, candidates
from launcher.nodes.selection import expand, listing, split
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


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("login", ("login",)),
        ("gpu[1-3]", ("gpu1", "gpu2", "gpu3")),
        ("node[08-11]", ("node08", "node09", "node10", "node11")),
        ("node[1,3,5-7]", ("node1", "node3", "node5", "node6", "node7")),
        ("r[1-2]n[1-3]", ("r1n1", "r1n2", "r1n3", "r2n1", "r2n2", "r2n3")),
        ("a[1-2]b.site", ("a1b.site", "a2b.site")),
        ("[1-2]", ("1", "2")),
        ("n[9-10]", ("n9", "n10")),
        ("n[098-101]", ("n098", "n099", "n100", "n101")),
        ("n[ 1 , 2 ]", ("n1", "n2")),
    ],
)
def test_a_range_stands_for_its_names_with_their_zeros(text: str, names: tuple[str, ...]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("n[1-3", "not closed"),
        ("n1-3]", "not closed"),
        ("n[1[2]]", "inside another"),
        ("n[3-1]", "backwards"),
        ("n[a-c]", "no number"),
        ("n[]", "no number"),
        ("n[1,]", "no number"),
        ("n[-4]", "no number"),
        ("n[1-99999999]", "more than 10000"),
        ("n[1-200][1-200]", "more than 10000"),
    ],
)
def test_a_range_that_cannot_be_read_says_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        expand(text)


def test_a_list_is_cut_outside_of_brackets_only() -> None:
    assert list(split("a[1,2],b, c[3]")) == ["a[1,2]", "b", "c[3]"]
    assert list(split("a")) == ["a"]


def test_a_sentence_names_only_the_first_of_very_many() -> None:
    assert listing(["a", "b"]) == "a, b"
    assert listing([str(n) for n in range(100)], most=2) == "0, 1 and 98 more"
