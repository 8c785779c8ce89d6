"""The rendezvous: its endpoint, its port, signing off, and what it gives to the ranks."""

from __future__ import annotations

import http.client
import logging
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import ConfigError, PreflightError
from launcher.runtime.environ import RankEnviron
from launcher.runtime.rendezvous import RENDEZVOUS, Endpoint, RendezvousServer
from launcher.specs.secrets import RUN_SECRET
from tests.listening import listening
from tests.needs import need


def test_endpoints_are_read_with_names_and_both_kinds_of_addresses() -> None:
    assert Endpoint.parse("node1:29500") == Endpoint(address="node1", port=29500)
    assert Endpoint.parse("[::1]:29500") == Endpoint(address="::1", port=29500)


@pytest.mark.parametrize("text", ["node1", ":29500", "node1:port"])
def test_half_an_endpoint_is_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError):
        Endpoint.parse(text)


def free_endpoint() -> Endpoint:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return Endpoint(address="127.0.0.1", port=listener.getsockname()[1])


def torch_rendezvous(endpoint: Endpoint, node: int = 0) -> RendezvousServer:
    return RENDEZVOUS["torchrun"](endpoint, (1, 1), node, "run")


def test_a_port_in_use_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(PreflightError, match=f"port {port} is in use"):
            torch_rendezvous(Endpoint(address="127.0.0.1", port=port)).bind()


def test_signing_off_prints_nothing_if_the_head_is_gone(capfd: pytest.CaptureFixture[str]) -> None:
    torch_rendezvous(free_endpoint(), node=1).sign_off()
    assert capfd.readouterr() == ("", "")


def test_signing_off_prints_nothing_if_the_head_hangs_up(capfd: pytest.CaptureFixture[str]) -> None:
    """It exits between our first connection and that of torch."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer_and_hang_up() -> None:
            listener.accept()[0].close()

        hang_up = threading.Thread(target=answer_and_hang_up)
        hang_up.start()
        threading.Timer(0.3, listener.close).start()
        torch_rendezvous(Endpoint(address="127.0.0.1", port=port), node=1).sign_off()
        hang_up.join()
    assert capfd.readouterr() == ("", "")


def test_the_head_waits_for_the_other_agents_within_a_limit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    endpoint = free_endpoint()
    head = torch_rendezvous(endpoint)
    head.bind()
    head.start()
    head.wait_for_agents(0.1, lambda: False)
    assert "exiting before all other agents did" in caplog.text
    caplog.clear()
    torch_rendezvous(endpoint, node=1).sign_off()
    head.wait_for_agents(60.0, lambda: False)
    assert caplog.text == ""


@pytest.mark.parametrize("engine", ["torchrun", pytest.param("horovod", marks=pytest.mark.extras)])
def test_the_server_listens_only_at_the_address_of_the_rendezvous(engine: str) -> None:
    endpoint = free_endpoint()
    head = RENDEZVOUS[need(engine)](endpoint, (1, 1), 0, "run")
    head.bind()
    head.start()
    ports = [place for place in listening([os.getpid()]) if place[1] == endpoint.port]
    assert ports == [("127.0.0.1", endpoint.port)]


def test_an_agent_without_the_secret_of_the_attempt_cannot_sign_off_for_another(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = free_endpoint()
    monkeypatch.setenv(RUN_SECRET, "ours")
    head, peer = torch_rendezvous(endpoint), torch_rendezvous(endpoint, node=1)
    monkeypatch.setenv(RUN_SECRET, "of an earlier attempt")
    stranger = torch_rendezvous(endpoint, node=1)
    head.bind()
    head.start()
    stranger.sign_off()
    caplog.set_level(logging.INFO)
    head.wait_for_agents(0.1, lambda: False)
    assert "refused the value of `launcher/signed_off/1`" in caplog.text
    assert "exiting before all other agents did" in caplog.text
    caplog.clear()
    peer.sign_off()
    head.wait_for_agents(60.0, lambda: False)
    assert caplog.text == ""


def asks(endpoint: Endpoint, method: str, path: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection(endpoint.address, endpoint.port, timeout=60)
    connection.request(method, path, body=body)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.extras
def test_horovods_server_answers_only_the_processes_of_the_attempt(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = free_endpoint()
    monkeypatch.setenv(RUN_SECRET, "ours")
    head: Any = RENDEZVOUS[need("horovod")](endpoint, (1, 1), 0, "run")
    peer = RENDEZVOUS["horovod"](endpoint, (1, 1), 1, "run")
    head.bind()
    head.start()
    variables = head.rank_variables(place_of(0, 0, (1, 1)))
    address = variables["HOROVOD_GLOO_RENDEZVOUS_ADDR"]
    # Horovod makes this URL of them.
    url = f"http://{address}:{variables['HOROVOD_GLOO_RENDEZVOUS_PORT']}/global/0"
    own = url.removeprefix(f"http://127.0.0.1:{endpoint.port}")
    assert asks(endpoint, "PUT", own, b"address") == 200
    assert asks(endpoint, "GET", own) == 200
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        for path in ("/global/0", f"/{'0' * 64}:{endpoint.port}/global/0", "/", "//etc/passwd"):
            assert asks(endpoint, method, path, b"6.6.6.6") == 403, (method, path)
    assert asks(endpoint, "PUT", "/launcher/1", b"done") == 403
    assert "refused a request of ('127.0.0.1'" in caplog.text
    caplog.set_level(logging.INFO)
    head.wait_for_agents(0.1, lambda: False)
    assert "exiting before all other agents did" in caplog.text
    peer.sign_off()
    caplog.clear()
    head.wait_for_agents(60.0, lambda: False)
    assert caplog.text == ""


SLOTS = (2, 1, 3)


def place_of(node: int, local_rank: int, slots: tuple[int, ...]) -> RankEnviron:
    return RankEnviron(
        rank=sum(slots[:node]) + local_rank,
        world_size=sum(slots),
        local_rank=local_rank,
        local_world_size=slots[node],
        node_rank=node,
        set_by="horovod",
    )


def horovod_variables(node: int, local_rank: int) -> dict[str, str]:
    rendezvous = RENDEZVOUS["horovod"](Endpoint(address="127.0.0.1", port=5), SLOTS, node, "run")
    return rendezvous.rank_variables(place_of(node, local_rank, SLOTS))


def test_a_rank_of_horovod_gets_its_place() -> None:
    variables = horovod_variables(2, 2)
    assert (variables["HOROVOD_RANK"], variables["HOROVOD_SIZE"]) == ("5", "6")
    assert (variables["HOROVOD_LOCAL_RANK"], variables["HOROVOD_LOCAL_SIZE"]) == ("2", "3")
    assert variables["HOROVOD_GLOO_RENDEZVOUS_PORT"] == "5"


def test_cross_ranks_count_only_the_nodes_that_have_such_a_local_rank() -> None:
    second = horovod_variables(2, 1)
    assert (second["HOROVOD_CROSS_RANK"], second["HOROVOD_CROSS_SIZE"]) == ("1", "2")
    third = horovod_variables(2, 2)
    assert (third["HOROVOD_CROSS_RANK"], third["HOROVOD_CROSS_SIZE"]) == ("0", "1")


def test_the_controller_of_horovod_is_set_explicitly() -> None:
    assert horovod_variables(0, 0)["HOROVOD_CONTROLLER"] == "gloo"


def test_a_torch_rank_gets_the_error_file_of_its_own_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = RankEnviron(
        rank=3, world_size=4, local_rank=0, local_world_size=1, node_rank=0, set_by=""
    )
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", "/of/an/outer/torchrun.json")
    monkeypatch.setenv("LAUNCHER_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("LAUNCHER_ATTEMPT", "2")
    found = torch_rendezvous(free_endpoint()).rank_variables(place)
    expected = tmp_path / "run" / "attempts" / "0002" / "ranks" / "error-0003.json"
    assert found["TORCHELASTIC_ERROR_FILE"] == str(expected)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"GLOO_SOCKET_IFNAME": "eth0"}, "eth0"),
        ({"GLOO_SOCKET_IFNAME": "eth0", "HOROVOD_GLOO_IFACE": "ib0"}, "ib0"),
    ],
)
def test_horovod_uses_the_interface_that_the_user_gave_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert horovod_variables(0, 0)["HOROVOD_GLOO_IFACE"] == expected
