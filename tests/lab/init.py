"""Process 1 of a host: builds the root, starts the daemons, then collects orphans.

`python -m tests.lab.init SETTINGS.json`, in its own namespaces (mount, uts, ipc, pid, net).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab.commands import SYSTEM_PATH, command
from tests.lab.keys import CLIENT_KEY, HOST_KEY, MUNGE_KEY
from tests.lab.records import LABS
from tests.lab.slurm import CONTROLLER

USER = "trainer"
USER_ID = 2000
_ROOT_SIZE = "4g"
_NULL_DEVICE = os.makedev(1, 3)
_PLAIN_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


@dataclass(frozen=True)
class Settings:
    """The settings of a host and its lab."""

    host: str
    lab: Path
    addresses: Mapping[str, str]
    visible: tuple[Path, ...]
    slurm: bool
    gpus: int
    max_startups: str | None

    @property
    def folder(self) -> Path:
        """The files that survive a crash of the host."""
        return self.lab / "hosts" / self.host

    def write(self, path: Path) -> None:
        values = {
            **vars(self),
            "lab": str(self.lab),
            "addresses": dict(self.addresses),
            "visible": [str(each) for each in self.visible],
        }
        path.write_text(json.dumps(values))

    @classmethod
    def read(cls, path: Path) -> Settings:
        values = json.loads(path.read_text())
        lab, visible = Path(values.pop("lab")), tuple(map(Path, values.pop("visible")))
        return cls(**values, lab=lab, visible=visible)


def main() -> None:
    settings = Settings.read(Path(sys.argv[1]))
    command("hostname", settings.host)
    root = _own_root(settings.lab / "root")
    _own_devices(root / "dev", settings.gpus if settings.slurm else 0)
    _own_folders(root, settings)
    _own_identity(root, settings)
    _own_logins(root, settings)
    if settings.slurm:
        _own_slurm(root, settings)
    _move_into(root)
    _start_daemons(settings)
    # The kernel collects the children of a parent that ignores SIGCHLD, orphans included.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.execv("/bin/sleep", ["sleep", "infinity"])


def _own_root(mount_point: Path) -> Path:
    """Mount a writable layer, which is lost with the host, over this machine's root."""
    mount_point.mkdir(exist_ok=True)
    command("mount", "-t", "tmpfs", "-o", f"size={_ROOT_SIZE},mode=755", "tmpfs", mount_point)
    (mount_point / "layers").mkdir()
    return _overlay(Path("/"), mount_point / "root", mount_point / "layers" / "root")


def _overlay(lower: Path, target: Path, layers: Path) -> Path:
    for folder in (layers / "upper", layers / "work", target):
        folder.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={lower},upperdir={layers / 'upper'},workdir={layers / 'work'}"
    command("mount", "-t", "overlay", "-o", options, "overlay", target)
    return target


def _own_devices(dev: Path, gpus: int) -> None:
    command("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", dev)
    for name in _PLAIN_DEVICES:
        (dev / name).touch()
        command("mount", "--bind", f"/dev/{name}", dev / name)
    (dev / "pts").mkdir()
    command(
        "mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620", "devpts", dev / "pts"
    )
    (dev / "shm").mkdir()
    command("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", dev / "shm")
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0",
             "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}  # fmt: skip
    for name, target in links.items():
        (dev / name).symlink_to(target)
    for index in range(gpus):  # Slurm counts these files; nothing opens them
        os.mknod(dev / f"nvidia{index}", 0o666 | stat.S_IFCHR, _NULL_DEVICE)
        (dev / f"nvidia{index}").chmod(0o666)


def _own_folders(root: Path, settings: Settings) -> None:
    command("mount", "-t", "proc", "proc", root / "proc")
    command("mount", "-t", "sysfs", "sysfs", root / "sys")
    command("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", root / "tmp")
    command("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", root / "run")
    for name in ("sshd", "munge", "lock"):
        (root / "run" / name).mkdir()
    for name, source in (("shared", settings.lab / "shared"), ("local", settings.folder / "local")):
        (root / name).mkdir(exist_ok=True)
        command("mount", "--bind", source, root / name)
    layers = settings.lab / "root" / "layers"
    for index, path in enumerate(settings.visible):
        inside = root / path.relative_to("/")
        if not _seen_through_the_root(path):
            _overlay(path, inside, layers / str(index))
        _allow_all_users(root, inside)
    # Keys and disks of the other hosts are visible through the root: cover them.
    command("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", root / LABS.relative_to("/"))


def _seen_through_the_root(path: Path) -> bool:
    """An overlay shows one file system: no mounts inside it, and nothing that we cover."""
    covered = any(path.is_relative_to(own) for own in ("/tmp", "/run", "/dev"))
    return not covered and not any(each.is_mount() for each in (path, *path.parents[:-1]))


def _allow_all_users(root: Path, path: Path) -> None:
    """Python and the code may be in root's home, and the ordinary user needs them, too."""
    for folder in (path, *path.parents):
        if folder == root:
            return
        folder.chmod(folder.stat().st_mode | 0o055)


def _own_identity(root: Path, settings: Settings) -> None:
    etc = root / "etc"
    (etc / "hostname").write_text(f"{settings.host}\n")
    hosts = (f"{address} {host}\n" for host, address in settings.addresses.items())
    (etc / "hosts").write_text("127.0.0.1 localhost\n" + "".join(hosts))
    (etc / "resolv.conf").unlink(missing_ok=True)
    (etc / "resolv.conf").touch()
    (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nshadow: files\nhosts: files\n")
    # "*", not "!": without PAM, sshd refuses accounts that are locked.
    for name, line in (
        ("passwd", f"{USER}:x:{USER_ID}:{USER_ID}::/home/{USER}:/bin/bash"),
        ("group", f"{USER}:x:{USER_ID}:"),
        ("shadow", f"{USER}:*:19000:0:99999:7:::"),
    ):
        with (etc / name).open("a") as file:
            file.write(line + "\n")


def _own_logins(root: Path, settings: Settings) -> None:
    """Let root and the ordinary user log in from any host to any host."""
    keys, ssh = settings.lab / "keys", root / "etc" / "ssh"
    for leftover in ssh.glob("ssh_host_*"):
        leftover.unlink()
    for name in (HOST_KEY, f"{HOST_KEY}.pub"):
        shutil.copy(keys / settings.host / name, ssh / name)
    startups = f"MaxStartups {settings.max_startups}\n" if settings.max_startups else ""
    (ssh / "sshd_config").write_text(
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nUsePAM no\nUseDNS no\nAcceptEnv LANG LC_*\n"
        f"Subsystem sftp /usr/lib/openssh/sftp-server\n{startups}"
    )
    _fill_home(root / "root", keys, owner=0)
    _fill_home(root / "home" / USER, keys, owner=USER_ID)
    for shared_by_users in (root / "shared", root / "local"):
        shared_by_users.chmod(0o1777)


def _fill_home(home: Path, keys: Path, owner: int) -> None:
    home.mkdir(exist_ok=True)
    for name in (".bashrc", ".profile", ".bash_profile"):
        (home / name).unlink(
            missing_ok=True
        )  # `ssh host command` reads them; a fresh host has none
    shutil.rmtree(home / ".ssh", ignore_errors=True)
    (home / ".ssh").mkdir(mode=0o700)
    for name in (CLIENT_KEY, f"{CLIENT_KEY}.pub", "authorized_keys", "known_hosts"):
        shutil.copy(keys / name, home / ".ssh" / name)
        (home / ".ssh" / name).chmod(0o600)
    for path in (home, home / ".ssh", *(home / ".ssh").iterdir()):
        os.chown(path, owner, owner)


def _own_slurm(root: Path, settings: Settings) -> None:
    for folder in (
        "etc/slurm",
        "etc/munge",
        "var/spool/slurmd",
        "var/log/slurm",
        "local/slurmctld",
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for path in (settings.lab / "slurm").iterdir():
        # The controller has no devices to count.
        if settings.host != CONTROLLER or path.name != "gres.conf":
            shutil.copy(path, root / "etc" / "slurm" / path.name)
    key = root / "etc" / "munge" / MUNGE_KEY
    shutil.copy(settings.lab / "keys" / MUNGE_KEY, key)
    key.chmod(0o400)
    for path in (key, root / "etc" / "munge", root / "run" / "munge"):
        shutil.chown(path, "munge", "munge")


def _move_into(root: Path) -> None:
    (root / ".before").mkdir()
    os.chdir(root)
    command("pivot_root", ".", ".before")
    os.chdir("/")
    command("umount", "--lazy", "/.before")
    Path("/.before").rmdir()


def _start_daemons(settings: Settings) -> None:
    _start("/usr/sbin/sshd", "-D", "-E", "/local/sshd.log")
    if not settings.slurm:
        return
    as_munge = ("setpriv", "--reuid", "munge", "--regid", "munge", "--clear-groups")
    command(*as_munge, "munged", "--force", "--log-file", "/run/munge/munged.log",
            "--pid-file", "/run/munge/munged.pid", "--seed-file", "/run/munge/seed")  # fmt: skip
    daemon = "slurmctld" if settings.host == CONTROLLER else "slurmd"
    _start(f"/usr/sbin/{daemon}", "-D", "-L", f"/local/{daemon}.log")


def _start(*argv: str) -> None:
    with Path("/local/daemons.log").open("a") as log:
        subprocess.Popen(
            argv,
            env={"PATH": SYSTEM_PATH, "HOME": "/root", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


if __name__ == "__main__":
    main()
