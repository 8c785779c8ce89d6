"""The network check: who gets an answer, and whose answer counts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from launcher.transports.remote.mesh_probe import Listener, Peer

NONCE = "of this check"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def request(rank: int, port: int, nonce: str = NONCE) -> Any:
    times = {"timeout_s": 0.1, "settle_s": 0.0}
    return {"rank": rank, "nonce": nonce, "port": port, **times}


@pytest.fixture
def port() -> int:
    """Return the port of a node with rank 1."""
    return free_port()


@pytest.fixture
def listener(port: int) -> Listener:
    return Listener(request(1, port))


def find(port: int, *, nonce: str = NONCE, peer: int = 1) -> Any:
    return Peer(
        request(0, free_port(), nonce), {"rank": peer, "port": port, "addresses": ["127.0.0.1"]}
    ).find()


def test_a_peer_is_found_and_is_done(listener: Listener, port: int) -> None:
    assert list(find(port)["reached"]) == ["127.0.0.1"]
    listener.wait_for({0}, 60)
    assert listener._done == {0}


@pytest.mark.parametrize("wrong", [{"nonce": "of another check"}, {"peer": 2}])
def test_another_check_and_another_node_are_not_the_peer(
    listener: Listener, port: int, wrong: Any
) -> None:
    assert find(port, **wrong)["failed"] == {"127.0.0.1": "another machine answers there"}
    assert not listener._done


@pytest.mark.parametrize(
    "sent", [b"who 0", b"done 0", b"done 0 challenge " + b"0" * 64, b"\xff", b"GET / HTTP/1.1\r\n"]
)
def test_a_stranger_gets_no_answer_and_ends_nothing(
    listener: Listener, port: int, sent: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
        link.sendall(sent)
        assert link.recv(256) == b""
    assert not listener._done


@pytest.fixture
def echo() -> Iterator[int]:
    """Answer every question with the question itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as link:
                link.sendall(link.recv(256))

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_an_answer_without_the_nonce_is_not_the_peer(echo: int) -> None:
    assert find(echo)["failed"] == {"127.0.0.1": "another machine answers there"}
