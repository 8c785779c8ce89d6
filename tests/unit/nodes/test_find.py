from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.errors import PreflightError
from launcher.nodes import Candidate, Candidates, Diagnosis, LookRequest, look
from launcher.nodes.bandwidth import Links
from launcher.specs import Node
from launcher.transports import Reach, Transport, create
from tests.nodes_request import nodes_request

pytestmark = pytest.mark.process

HERE = Candidates(
    source="hostfile",
    hosts=(Candidate(node=Node(node_rank=0, name="here", address="127.0.0.1", slots=1)),),
)
REQUEST = nodes_request("hostfile", device="cpu")


@pytest.fixture
def transport() -> Transport:
    return create("local", Reach(nodes=HERE.nodes, python=sys.executable))


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("", 0)) as server:
        yield server.getsockname()[1]


def wanted(root: Path, *ports: int) -> LookRequest:
    return LookRequest(root=root, ports=ports, timeout_s=60)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("", 0))
        return int(server.getsockname()[1])


def test_a_sound_node_is_chosen_at_a_port_that_is_free_there(
    transport: Transport, tmp_path: Path, taken: int
) -> None:
    free = free_port()
    seen = look(HERE, transport, wanted(tmp_path, taken, free))
    assert seen.table.bad_nodes == ()
    assert seen.ports == {"here": free}
    (node,) = seen.choose(HERE, REQUEST).nodes
    assert node.name == "here"
    assert seen.environment()["here"]["executable"] == sys.executable


def test_a_pinned_port_that_is_taken_keeps_the_run_from_starting(
    transport: Transport, tmp_path: Path, taken: int
) -> None:
    pinned = replace(wanted(tmp_path, free_port()), pinned=taken)
    with pytest.raises(PreflightError, match="0 of 1 hosts can be used") as caught:
        look(HERE, transport, pinned).choose(HERE, REQUEST)
    assert f"port {taken} is in use there" in caught.value.context
    assert "! in use" in caught.value.context


def test_a_storage_root_that_cannot_be_written_from_here_is_told_first(
    transport: Transport, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PreflightError, match="not a directory"):
        look(HERE, transport, wanted(tmp_path / "file" / "root", 1))


def test_a_diagnosis_names_bad_nodes_as_slurm_takes_them(
    transport: Transport, tmp_path: Path, taken: int
) -> None:
    pinned = replace(wanted(tmp_path), pinned=taken)
    found = Diagnosis(seen=look(HERE, transport, pinned), links=Links())
    told = found.to_json()
    assert (told["ok"], told["bad_nodes"], told["exclude"]) == (False, ["here"], "here")
    assert told["nodes"]["here"]["checks"]["port"]["mark"] == "bad"
