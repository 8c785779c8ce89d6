"""Hostfiles: the files that people have already."""

from pathlib import Path

import pytest

from launcher.errors import ConfigError
from launcher.nodes import NodesRequest, candidates
from launcher.nodes.hostfile import parse
from tests.nodes_request import nodes_request

OPEN_MPI = """\
# my cluster
login slots=0

gpu1 slots=2 max_slots=4   # the big one
gpu[2-3] slots=1
"""


def request(**changes: object) -> NodesRequest:
    return nodes_request("hostfile", **changes)  # type: ignore[arg-type]


def names(found: NodesRequest) -> list[str]:
    return [host.name for host in candidates(found).hosts]


@pytest.fixture
def hostfile(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.txt"
    path.write_text(OPEN_MPI)
    return path


def test_hosts_stand_in_the_order_of_the_file() -> None:
    assert [(each.host, each.slots) for each in parse(OPEN_MPI, "f")] == [
        ("login", 0),
        ("gpu1", 2),
        ("gpu2", 1),
        ("gpu3", 1),
    ]


def test_line_ends_of_windows_a_byte_order_mark_and_no_last_line_end_are_read() -> None:
    text = "\ufeffa slots=2\r\n\r\n# c\r\nb slots=1"
    assert [(each.host, each.slots) for each in parse(text, "f")] == [("a", 2), ("b", 1)]


def test_a_line_that_cannot_be_read_is_named_by_its_number() -> None:
    with pytest.raises(ConfigError, match=r"line 3 of hosts\.txt") as caught:
        parse("a\n# comment\nb slot=2\n", "hosts.txt")
    assert "b slot=2" in caught.value.context


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_a_file_without_hosts_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="names no host"):
        parse(text, "hosts.txt")


def test_the_file_that_was_asked_for_is_read(hostfile: Path) -> None:
    assert names(request(hostfile=str(hostfile))) == ["login", "gpu1", "gpu2", "gpu3"]


def test_a_file_that_is_not_there_offers_the_nearest(hostfile: Path) -> None:
    with pytest.raises(ConfigError, match=r"host\.txt") as caught:
        candidates(request(hostfile=str(hostfile.with_name("host.txt"))))
    assert f"did you mean cluster.hostfile={hostfile}" in caught.value.hint


def test_a_folder_and_a_binary_file_are_told_as_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory"):
        candidates(request(hostfile=str(tmp_path)))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is no text"):
        candidates(request(hostfile=str(tmp_path / "binary")))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        candidates(request(hostfile=str(tmp_path / "none" / "hosts")))
    assert f"there is no folder {tmp_path / 'none'}" in caught.value.hint


def test_hosts_of_the_command_line_are_written_as_in_a_file() -> None:
    hosts = candidates(request(hosts=("alice@a:2222", "b slots=2", "c[1-2]"))).hosts
    assert [(host.name, host.slots) for host in hosts] == [
        ("a", None),
        ("b", 2),
        ("c1", None),
        ("c2", None),
    ]


def test_without_hosts_it_says_how_to_name_them() -> None:
    with pytest.raises(ConfigError) as caught:
        candidates(request())
    assert "cluster.hostfile=PATH" in caught.value.hint


def test_hosts_from_two_places_are_refused(hostfile: Path) -> None:
    with pytest.raises(ConfigError, match="both"):
        candidates(request(hostfile=str(hostfile), hosts=("a",)))


def test_an_empty_name_on_the_command_line_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cluster\.hosts is empty"):
        candidates(request(hosts=("a", " ")))
