"""Endpoint and port of the store."""

from __future__ import annotations

import logging
import socket
import threading

import pytest
import torch.distributed  # noqa: F401 - what is timed below is not its import

from launcher.errors import ConfigError, PreflightError
from launcher.runtime.rendezvous import Endpoint, Host, horovod_variables, sign_off


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
    sign_off(Endpoint(address="127.0.0.1", port=port))
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


def test_the_head_waits_for_the_others_and_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    endpoint = Endpoint(address="127.0.0.1", port=port)
    host = Host(endpoint)
    host.start()
    host.wait_for_agents(1, 0.1, lambda: False)
    assert "leaving before all other agents did" in caplog.text
    caplog.clear()
    sign_off(endpoint)
    host.wait_for_agents(1, 60.0, lambda: False)
    assert caplog.text == ""


SLOTS = (2, 1, 3)


def told(node: int, local_rank: int) -> dict[str, str]:
    return horovod_variables(SLOTS, node, local_rank, Endpoint(address="127.0.0.1", port=5))


def test_ranks_are_dealt_out_node_by_node() -> None:
    ranks = [told(node, local)["HOROVOD_RANK"] for node in range(3) for local in range(SLOTS[node])]
    assert ranks == ["0", "1", "2", "3", "4", "5"]
    assert told(2, 2)["HOROVOD_SIZE"] == "6"
    assert told(2, 2)["HOROVOD_LOCAL_SIZE"] == "3"


def test_cross_ranks_count_only_the_nodes_that_have_such_a_local_rank() -> None:
    second = told(2, 1)
    assert (second["HOROVOD_CROSS_RANK"], second["HOROVOD_CROSS_SIZE"]) == ("1", "2")
    third = told(2, 2)
    assert (third["HOROVOD_CROSS_RANK"], third["HOROVOD_CROSS_SIZE"]) == ("0", "1")


def test_gloo_is_asked_for_aloud() -> None:
    assert told(0, 0)["HOROVOD_CONTROLLER"] == "gloo"
    assert told(0, 0)["HOROVOD_GLOO_RENDEZVOUS_PORT"] == "5"
