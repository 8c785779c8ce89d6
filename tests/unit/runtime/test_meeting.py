"""Endpoint and port of the store."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import torch.distributed  # noqa: F401 - what is timed below is not its import

from launcher.errors import ConfigError, PreflightError
from launcher.runtime.meeting import Endpoint, Host, sign_off


def test_endpoints_are_read_with_names_and_both_kinds_of_addresses() -> None:
    assert Endpoint.parse("node1:29500") == Endpoint(address="node1", port=29500)
    assert Endpoint.parse("[::1]:29500") == Endpoint(address="::1", port=29500)


@pytest.mark.parametrize("text", ["node1", ":29500", "node1:port"])
def test_half_an_endpoint_is_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError):
        Endpoint.parse(text)


def test_a_busy_port_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(PreflightError, match=str(port)):
            Host(Endpoint(address="127.0.0.1", port=port))


def test_a_head_that_is_gone_is_not_worth_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    began = time.monotonic()
    sign_off(Endpoint(address="127.0.0.1", port=port))
    assert time.monotonic() - began < 10
    assert capfd.readouterr() == ("", "")


def test_a_head_that_hangs_up_is_not_worth_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    """It leaves between the look and the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer_and_hang_up() -> None:
            listener.accept()[0].close()

        hang_up = threading.Thread(target=answer_and_hang_up)
        hang_up.start()
        threading.Timer(0.3, listener.close).start()
        sign_off(Endpoint(address="127.0.0.1", port=port))
        hang_up.join()
    assert capfd.readouterr() == ("", "")


def test_the_head_waits_for_the_others_and_not_for_ever(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    endpoint = Endpoint(address="127.0.0.1", port=port)
    host = Host(endpoint)
    host.start()
    began = time.monotonic()
    host.wait_for_agents(1, 0.3, lambda: False)
    assert time.monotonic() - began >= 0.3
    sign_off(endpoint)
    began = time.monotonic()
    host.wait_for_agents(1, 10.0, lambda: False)
    assert time.monotonic() - began < 5
