"""Where a server listens: at the address that the nodes use, and nowhere else."""

from __future__ import annotations

import socket

import pytest

from launcher.errors import PreflightError
from launcher.runtime.listen import listen

V6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6: sysctl net.ipv6")
FOREIGN = "192.0.2.1"
"""An address that no machine has (RFC 5737)."""


def where(address: str, *, several_nodes: bool = False, **more: int) -> str:
    with listen(address, 0, several_nodes=several_nodes, **more) as server:
        found: str = server.getsockname()[0]
        return found


@pytest.mark.parametrize("several_nodes", [False, True])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", pytest.param("::1", marks=V6)])
def test_an_address_is_the_only_one(address: str, several_nodes: bool) -> None:
    assert where(address, several_nodes=several_nodes) == address


def test_a_name_on_one_node_is_what_it_means_here() -> None:
    assert where("localhost") in ("127.0.0.1", "::1")
    assert where("localhost", family=socket.AF_INET) == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "several_nodes"),
    [("localhost", True), (FOREIGN, True), (FOREIGN, False), ("no-such-host.invalid", False)],
)
def test_all_addresses_if_the_one_that_others_use_is_not_known(
    address: str, several_nodes: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert where(address, several_nodes=several_nodes) in ("::", "0.0.0.0")
    assert f"{address} is" in caplog.text


@pytest.mark.parametrize("taken", ["127.0.0.1", ""])
def test_a_port_in_use_is_an_error_that_names_it(taken: str) -> None:
    with socket.create_server((taken, 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(PreflightError, match=f"port {port} is in use"):
            listen("127.0.0.1", port, several_nodes=False)


def test_two_runs_may_use_one_port_at_different_addresses() -> None:
    with listen("127.0.0.1", 0, several_nodes=False) as one:
        port = one.getsockname()[1]
        with listen("127.0.0.2", port, several_nodes=False) as other:
            assert other.getsockname()[1] == port


def test_a_port_whose_last_connection_is_in_time_wait_is_free() -> None:
    with listen("127.0.0.1", 0, several_nodes=False) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            server.accept()[0].close()
            client.recv(1)
    with socket.socket() as plain, pytest.raises(OSError, match="in use"):
        plain.bind(("127.0.0.1", port))
    listen("127.0.0.1", port, several_nodes=False).close()
