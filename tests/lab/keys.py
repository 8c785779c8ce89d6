"""The keys of a lab: one for all logins, one per host, one for munge."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from tests.lab.commands import command

CLIENT_KEY = "id_ed25519"
HOST_KEY = "ssh_host_ed25519_key"
MUNGE_KEY = "munge.key"
_MUNGE_KEY_BYTES = 1024


def make_keys(folder: Path, addresses: Mapping[str, str]) -> None:
    """Write every key of the lab, and the `known_hosts` that lets hosts trust each other."""
    folder.mkdir(mode=0o700)
    _make_pair(folder / CLIENT_KEY)
    (folder / "authorized_keys").write_text((folder / f"{CLIENT_KEY}.pub").read_text())
    known_hosts = []
    for host, address in addresses.items():
        (folder / host).mkdir()
        _make_pair(folder / host / HOST_KEY)
        kind, public, *_ = (folder / host / f"{HOST_KEY}.pub").read_text().split()
        known_hosts.append(f"{host},{address} {kind} {public}\n")
    (folder / "known_hosts").write_text("".join(known_hosts))
    (folder / MUNGE_KEY).write_bytes(secrets.token_bytes(_MUNGE_KEY_BYTES))


def write_ssh_config(path: Path, keys: Path, addresses: Mapping[str, str]) -> None:
    """Write the config for `ssh -F` to reach the hosts by name from this machine."""
    hosts = "".join(f"Host {host}\n  HostName {address}\n" for host, address in addresses.items())
    path.write_text(
        hosts
        + "Host *\n  User root\n  IdentitiesOnly yes\n"
        + "  BatchMode yes\n  StrictHostKeyChecking yes\n"
        + f"  IdentityFile {keys / CLIENT_KEY}\n  UserKnownHostsFile {keys / 'known_hosts'}\n"
    )


def _make_pair(path: Path) -> None:
    command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.parent.name, "-f", path)
