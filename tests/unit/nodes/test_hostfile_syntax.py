"""One host as people write it."""

import pytest

from launcher.errors import ConfigError
from launcher.nodes.hostfile_syntax import Entry, candidates, merge, parse


def one(text: str) -> Entry:
    (entry,) = parse(text, "here")
    return entry


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpu1", Entry(host="gpu1")),
        ("gpu1 slots=8", Entry(host="gpu1", slots=8)),
        ("gpu1 slots = 8", Entry(host="gpu1", slots=8)),
        ("gpu1\tslots=4   max_slots=8", Entry(host="gpu1", slots=4, max_slots=8)),
        ("gpu1 max-slots=8", Entry(host="gpu1", max_slots=8)),
        ("gpu1 count=2", Entry(host="gpu1", slots=2)),
        ("login slots=0", Entry(host="login", slots=0)),
        ("alice@gpu1", Entry(host="gpu1", user="alice")),
        ("gpu1 user=alice port=2222", Entry(host="gpu1", user="alice", port=2222)),
        ("alice@gpu1:2222 slots=2", Entry(host="gpu1", user="alice", port=2222, slots=2)),
        ("gpu1:22", Entry(host="gpu1", port=22)),
        ("gpu1 port=8", Entry(host="gpu1", port=8)),
        ("10.0.0.7 slots=2", Entry(host="10.0.0.7", slots=2)),
        ("2001:DB8::1", Entry(host="2001:db8::1")),
        ("alice@[2001:db8::1]:2222", Entry(host="2001:db8::1", user="alice", port=2222)),
        ("node_a.site-1.example", Entry(host="node_a.site-1.example")),
        (r"CORP\alice@gpu1", Entry(host="gpu1", user=r"CORP\alice")),
        ("GPU1 SLOTS=2", Entry(host="GPU1", slots=2)),
        ("gpu1.site.", Entry(host="gpu1.site")),
        ("alice@gpu1.site.:2222", Entry(host="gpu1.site", user="alice", port=2222)),
        ("gpu1:8", Entry(host="gpu1", slots=8)),
        ("gpu1:99", Entry(host="gpu1", slots=99)),
        ("gpu1:100", Entry(host="gpu1", port=100)),
        ("gpu1:8 port=2222", Entry(host="gpu1", slots=8, port=2222)),
        ("gpu1:2222 slots=8", Entry(host="gpu1", slots=8, port=2222)),
        ("alice@gpu1:8", Entry(host="gpu1", user="alice", slots=8)),
        ("[2001:db8::1]:8", Entry(host="2001:db8::1", slots=8)),
        ("10.0.0.7:2", Entry(host="10.0.0.7", slots=2)),
    ],
)
def test_what_open_mpi_deepspeed_and_ssh_write_is_read(text: str, expected: Entry) -> None:
    assert one(text) == Entry(**{**vars(expected), "where": "here"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpu1:8,gpu2:4", {"gpu1": 8, "gpu2": 4}),
        ("a,b,a", {"a": 2, "b": None}),
        ("gpu[1-2]:8,login", {"gpu1": 8, "gpu2": 8, "login": None}),
        ("alice@a:2,[2001:db8::1]:2", {"a": 2, "2001:db8::1": 2}),
        ("a.site.,b slots=2", {"a.site": 2, "b": 2}),
    ],
)
def test_a_list_with_commas_as_for_horovodrun_and_pdsh_is_read(
    text: str, expected: dict[str, int | None]
) -> None:
    assert {each.host: each.slots for each in merge(parse(text, "here"))} == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [("a.site", "a.site."), ("GPU1", "gpu1"), ("2001:DB8::1", "[2001:db8:0::1]")],
)
def test_two_spellings_of_a_host_are_one_host_under_its_first_name(first: str, second: str) -> None:
    (found,) = merge([*parse(f"{first} slots=2", "1"), *parse(f"{second} slots=1", "2")])
    assert (found.host, found.slots) == (one(first).host, 3)


def test_everything_that_is_said_holds_for_each_host_of_a_range() -> None:
    found = parse("alice@gpu[01-03]:2222 slots=2", "here")
    assert [(each.host, each.user, each.port, each.slots) for each in found] == [
        (f"gpu0{n}", "alice", 2222, 2) for n in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gpu1 slot=8", "did you mean `slots`"),
        ("gpu1 8", "expected `key=value`, got `8`"),
        ("gpu1 slots=many", "expected a number"),
        ("gpu1 slots=-1", "expected a number"),
        ("gpu1 slots=", "expected a number"),
        ("gpu1 slots=2 slots=3", "twice"),
        ("gpu1 slots=4 max_slots=2", "more than max_slots"),
        ("gpu1 8", "write `gpu1 slots=8`"),
        ("gpu1:8 slots=4", "number of ranks is named twice"),
        ("gpu1:0", "CUDA_VISIBLE_DEVICES"),
        ("gpu1:*", "for all, write `gpu1`"),
        ("gpu1:8,", "is not a valid host name"),
        ("gpu{1..4}", "write `gpu\\[1-4\\]`"),
        ("gpu1..", "is not a valid host name"),
        ("gpu1:99999", "is not a port"),
        ("gpu1:ssh", "is not a port"),
        ("gpu1:0,1", "CUDA_VISIBLE_DEVICES"),
        ("-oProxyCommand=x", "is not a valid host name"),
        ("gpu1;reboot", "is not a valid host name"),
        ("$(reboot)", "is not a valid host name"),
        ("+n0", "is not a valid host name"),
        ("@gpu1", "is not a valid user name"),
        ("-l@gpu1", "is not a valid user name"),
        ("alice@gpu1 user=bob", "user is named twice"),
        ("gpu1:2222 port=22", "port is named twice"),
        ("gpu[3-1]", "backwards"),
        ("1:2:3", "is not an IPv6 address"),
        ("rank 0=gpu1 slot=1", "no `key=value`|unknown key"),
    ],
)
def test_what_cannot_be_read_names_the_place_the_text_and_what_is_expected(
    text: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse(text, "line 7 of hosts")
    assert caught.value.message.startswith("line 7 of hosts: ")
    assert text in caught.value.context
    assert "host slots=8" in caught.value.hint


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("alice:hunter2@gpu1", "here")
    assert "hunter2" not in str(caught.value)


def test_slots_of_a_host_named_twice_add_up_as_in_open_mpi() -> None:
    entries = [*parse("a slots=2", "1"), *parse("b", "2"), *parse("a slots=1", "3")]
    assert [(each.host, each.slots) for each in merge(entries)] == [("a", 3), ("b", None)]


def test_a_nodefile_with_one_line_per_rank_counts_its_lines() -> None:
    entries = [each for text in ("a", "a", "b", "a") for each in parse(text, "pbs")]
    assert [(each.host, each.slots) for each in merge(entries)] == [("a", 3), ("b", None)]


@pytest.mark.parametrize(("one", "two"), [("alice@a", "bob@a"), ("a:2222", "a:2223")])
def test_two_lines_about_a_host_that_contradict_each_other_are_both_named(
    one: str, two: str
) -> None:
    with pytest.raises(ConfigError, match="named with") as caught:
        merge([*parse(one, "line 1"), *parse(two, "line 2")])
    assert "line 1" in caught.value.context
    assert "line 2" in caught.value.context


def test_ssh_gets_the_user_and_the_port_and_the_name_stays_the_hosts() -> None:
    (host,) = candidates(parse("alice@gpu1:2222 slots=2", "here"))
    assert (host.name, host.node.ssh, host.node.ssh_port) == ("gpu1", "alice@gpu1", 2222)
    assert (host.slots, host.node.address) == (2, "gpu1")
