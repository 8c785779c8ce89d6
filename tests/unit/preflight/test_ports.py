from __future__ import annotations

import socket

from launcher.preflight.ports import is_free


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free("127.0.0.1", port)
    assert is_free("127.0.0.1", port)


def test_a_port_that_was_just_used_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            connection, _ = server.accept()
            connection.close()  # the server's side closes first: its port goes to TIME_WAIT
            client.recv(1)
    assert is_free("127.0.0.1", port)


def test_an_address_of_another_host_cannot_be_asked_about() -> None:
    assert is_free("192.0.2.1", 29500)
    assert is_free("no-such-host.invalid", 29500)
