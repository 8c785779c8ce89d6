"""The network of a lab: a namespace per host, on one bridge that also reaches this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab.commands import command

_BRIDGE = "br0"
_HOSTS_LEG = "eth0"


@dataclass(frozen=True)
class Network:
    """A /24 without a route outside: hosts have no default route and no name server."""

    name: str
    prefix: str  # "10.78.3"
    addresses: Mapping[str, str]

    def up(self) -> None:
        command("ip", "netns", "add", self._switch)
        self._in_switch("add", _BRIDGE, "type", "bridge")
        self._in_switch("set", _BRIDGE, "up")
        command("ip", "link", "add", self._own_leg, "type", "veth", "peer", "name", "outside",
                "netns", self._switch)  # fmt: skip
        command("ip", "address", "add", f"{self.prefix}.1/24", "dev", self._own_leg)
        command("ip", "link", "set", self._own_leg, "up")
        self._in_switch("set", "outside", "master", _BRIDGE, "up")
        for host, address in self.addresses.items():
            self._add_host(host, address)

    def down(self) -> None:
        command("ip", "link", "delete", self._own_leg, check=False)
        for host in (*self.addresses, "switch"):
            command("ip", "netns", "delete", f"{self.name}-{host}", check=False)

    def namespace(self, host: str) -> Path:
        return Path("/run/netns") / f"{self.name}-{host}"

    def plug(self, host: str) -> None:
        self._in_switch("set", self._port(host), "up")

    def unplug(self, host: str) -> None:
        """Cut the link without notice: nothing arrives from the host, and peers get no error."""
        self._in_switch("set", self._port(host), "down")

    def partition(self, host: str, peers: Iterable[str]) -> None:
        """Drop all traffic between `host` and `peers`; the link stays up."""
        for peer in peers:
            address = self.addresses[peer]
            self._iptables(host, "--insert", "INPUT", "--source", address, "--jump", "DROP")
            self._iptables(host, "--insert", "OUTPUT", "--destination", address, "--jump", "DROP")

    def heal(self, host: str) -> None:
        self._iptables(host, "--flush")

    @property
    def _switch(self) -> str:
        return f"{self.name}-switch"

    @property
    def _own_leg(self) -> str:
        return f"v-{self.name}"

    def _port(self, host: str) -> str:
        return f"v-{host}"

    def _add_host(self, host: str, address: str) -> None:
        namespace = f"{self.name}-{host}"
        command("ip", "netns", "add", namespace)
        command("ip", "-n", namespace, "link", "set", "lo", "up")
        command("ip", "-n", namespace, "link", "add", _HOSTS_LEG, "type", "veth", "peer", "name",
                self._port(host), "netns", self._switch)  # fmt: skip
        command("ip", "-n", namespace, "address", "add", f"{address}/24", "dev", _HOSTS_LEG)
        command("ip", "-n", namespace, "link", "set", _HOSTS_LEG, "up")
        self._in_switch("set", self._port(host), "master", _BRIDGE, "up")

    def _in_switch(self, *words: str) -> None:
        command("ip", "-n", self._switch, "link", *words)

    def _iptables(self, host: str, *words: str) -> None:
        command("nsenter", f"--net={self.namespace(host)}", "iptables", "--wait", *words)
