from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.errors import PreflightError
from launcher.nodes import Candidate, Candidates, Diagnosis, NodeNeeds, NodesRequest
from launcher.nodes.bandwidth import Connections
from launcher.nodes.find import inspect
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


def needs(root: Path, *ports: int, request: NodesRequest = REQUEST) -> NodeNeeds:
    return NodeNeeds(request=request, root=root, ports=ports, write=True, timeout_s=60)


def pinned_at(port: int) -> NodesRequest:
    return nodes_request("hostfile", device="cpu", port=port)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("", 0))
        return int(server.getsockname()[1])


def test_a_sound_node_is_chosen_at_a_port_that_is_free_there(
    transport: Transport, tmp_path: Path, taken: int
) -> None:
    free = free_port()
    report = inspect(HERE, transport, needs(tmp_path, taken, free))
    assert report.table.bad_nodes == ()
    assert report.ports == {"here": free}
    (node,) = report.choose(HERE, REQUEST).nodes
    assert node.name == "here"
    assert report.environment()["here"]["executable"] == sys.executable


def test_a_pinned_port_that_is_taken_keeps_the_run_from_starting(
    transport: Transport, tmp_path: Path, taken: int
) -> None:
    pinned = needs(tmp_path, free_port(), request=pinned_at(taken))
    with pytest.raises(PreflightError, match="0 of 1 hosts can be used") as caught:
        inspect(HERE, transport, pinned).choose(HERE, REQUEST)
    assert f"port {taken} is in use" in caught.value.context
    assert "! in use" in caught.value.context


def test_a_storage_root_that_cannot_be_written_from_here_is_told_first(
    transport: Transport, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PreflightError, match="not a folder"):
        inspect(HERE, transport, needs(tmp_path / "file" / "root", 1))


def test_a_diagnosis_names_bad_nodes_as_slurm_takes_them(
    transport: Transport, tmp_path: Path, taken: int
) -> None:
    report = inspect(HERE, transport, needs(tmp_path, request=pinned_at(taken)))
    found = Diagnosis(report=report, connections=Connections())
    told = found.to_json()
    assert (told["ok"], told["bad_nodes"], told["exclude"]) == (False, ["here"], "here")
    assert told["nodes"]["here"]["checks"]["port"]["mark"] == "bad"
