"""The lab: starts hosts, breaks them, repairs them and leaves nothing behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab import records
from tests.lab.commands import LabError, wait_until
from tests.lab.host import REPOSITORY, Host, HostProcess, Process, User, environ_of
from tests.lab.init import Settings
from tests.lab.keys import make_keys, write_ssh_config
from tests.lab.network import Network
from tests.lab.records import Record
from tests.lab.slurm import CONTROLLER, write_settings

_FIRST_ADDRESS = 10
_SLURM_READY_WITHIN_S = 120
_ENDED_WITHIN_S = 60
_WORKING_STATES = ("idle", "mixed", "allocated", "completing")


class Lab:
    """A head and some hosts with a shared folder, like a small cluster.

    `with Lab(hosts=4) as lab:` starts "head", "host1" .. "host4"; the end of the block removes
    them.
    """

    def __init__(
        self,
        hosts: int = 4,
        *,
        slurm: bool = False,
        gpus: int = 8,
        max_startups: str | None = None,
    ) -> None:
        """`gpus` is for Slurm; `max_startups` is for sshd, whose default rejects bursts."""
        self._wanted = (hosts, slurm, gpus, max_startups)
        self._touched: set[str] = set()
        self._started: list[HostProcess] = []

    @classmethod
    def attach(cls, record: Record) -> Lab:
        """Use a lab that another process made."""
        lab = cls(
            record.hosts, slurm=record.slurm, gpus=record.gpus, max_startups=record.max_startups
        )
        lab._use(record)
        return lab

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    def up(self, *, keep: bool = False) -> None:
        """Start the hosts and wait until they answer; with `keep`, they outlive this process."""
        hosts, slurm, gpus, max_startups = self._wanted
        with records.locked():
            for record in records.all_records():
                if record.abandoned:
                    Lab.attach(record).down()
            name, prefix = records.free_name()
            owner = None if keep else records.this_process()
            record = Record(name, prefix, hosts, slurm, gpus, max_startups, owner)
            record.write()
        self._use(record)
        try:
            self._make()
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Kill every host and remove all files, including the shared folder."""
        for host in self._hosts.values():
            host.kill()
        for process in self._started:
            process.wait(_ENDED_WITHIN_S)
        self._network.down()
        shutil.rmtree(self.folder)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._hosts)

    @property
    def folder(self) -> Path:
        """The files of the lab on this machine; the logs of a host are in `hosts/NAME/local`."""
        return self._record.folder

    @property
    def shared(self) -> Path:
        """The folder that every host sees as /shared."""
        return self.folder / "shared"

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F` from this machine to the hosts."""
        return self.folder / "ssh_config"

    def address(self, host: str) -> str:
        return self._host(host).address

    def local(self, host: str) -> Path:
        """The folder that only `host` sees, as /local; it survives a crash."""
        return self._host(host).settings.folder / "local"

    def run(
        self,
        host: str,
        words: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/shared",
        user: User = "root",
        timeout_s: float = 60,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run `words` to the end, without ssh; kill them after `timeout_s`."""
        process = self._host(host).start(words, env or {}, cwd, user, stdout=None)
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except BaseException as error:
            process.kill_tree()
            stdout, stderr = process.communicate(timeout=_ENDED_WITHIN_S)
            error.add_note(f"on {host}: {stdout}{stderr}")
            raise
        if check and process.returncode != 0:
            raise LabError(f"{host}: {words} ended with {process.returncode}\n{stdout}{stderr}")
        return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)

    def start(
        self,
        host: str,
        words: Sequence[str],
        *,
        stdout: Path | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/shared",
        user: User = "root",
    ) -> HostProcess:
        """Start `words` in the background; `output` is a file on this machine."""
        output = stdout or self.folder / f"started-{len(self._started)}.log"
        process = self._host(host).start(words, env or {}, cwd, user, stdout=output)
        process.output = output
        self._started.append(process)
        process.wait_until_entered()
        return process

    def processes(self, host: str, *, environ: str | None = None) -> list[Process]:
        """Return the processes of `host`; `environ` selects those with this NAME=value."""
        return self._host(host).processes(environ)

    def alive(self, host: str) -> bool:
        return self._host(host).first is not None

    def crash(self, host: str) -> None:
        """Kill all processes; peers notice, because the kernel closes the connections."""
        self._touch(host).kill()

    def poweroff(self, host: str) -> None:
        """Cut the link, then kill all processes: peers receive nothing."""
        self.link_down(host)
        self.crash(host)

    def boot(self, host: str) -> None:
        """Start a host that is down, with its link up, and wait until ssh answers."""
        self.link_up(host)
        self._host(host).boot()
        self._host(host).wait_until_ready()

    def freeze(self, host: str) -> None:
        """Stop all processes: connections stay open and nothing answers."""
        self._touch(host).freeze()

    def thaw(self, host: str) -> None:
        self._host(host).thaw()

    def link_down(self, host: str) -> None:
        self._network.unplug(self._touch(host).name)

    def link_up(self, host: str) -> None:
        self._network.plug(self._host(host).name)

    def partition(self, host: str, peers: Iterable[str]) -> None:
        """Drop all traffic between `host` and `peers`; others still reach both."""
        self._network.partition(self._touch(host).name, [self._host(peer).name for peer in peers])

    def heal(self, host: str) -> None:
        """End the partitions of `host`."""
        self._network.heal(self._host(host).name)

    def fill_disk(self, host: str, path: str, size: int) -> None:
        """Put an empty disk of `size` bytes at `path`; writing more fails with ENOSPC."""
        self._touch(host).fill_disk(path, size)

    def share_read_only(self, host: str, read_only: bool) -> None:
        """Make /shared read-only (or writable again) on one host."""
        self._touch(host).share_read_only(read_only)

    def repair(self) -> None:
        """Undo everything that was done to the hosts."""
        dead = {name for name in self.names if not self.alive(name)}
        self._repair(sorted(self._touched | dead))

    def repair_all(self) -> None:
        """Repair all hosts of a lab that another process broke."""
        self._repair(self.names)

    def shell(self, host: str) -> tuple[list[str], dict[str, str]]:
        """Return the command line and environment of a shell on the host, for a terminal."""
        words = ["--ctty", "--wait", "bash", "-i"]
        return self._host(host).enter(words, "/shared", "root"), environ_of("root")

    def _use(self, record: Record) -> None:
        self._record = record
        names = (CONTROLLER, *(f"host{number}" for number in range(1, record.hosts + 1)))
        addresses = {
            name: f"{record.prefix}.{_FIRST_ADDRESS + index}" for index, name in enumerate(names)
        }
        self._network = Network(record.name, record.prefix, addresses)
        visible = _without_nested(Path(sys.prefix), Path(sys.base_prefix), REPOSITORY)
        self._hosts = {
            name: Host(
                Settings(name, record.folder, addresses, visible, record.slurm, record.gpus,
                         record.max_startups),
                self._network.namespace(name),
            )
            for name in names
        }  # fmt: skip

    def _make(self) -> None:
        addresses = self._network.addresses
        self.shared.mkdir()
        make_keys(self.folder / "keys", addresses)
        write_ssh_config(self.ssh_config, self.folder / "keys", addresses)
        if self._record.slurm:
            write_settings(self.folder / "slurm", addresses, self._record.gpus)
        self._network.up()
        for host in self._hosts.values():
            host.boot()
        for host in self._hosts.values():
            host.wait_until_ready()
        self._wait_for_slurm()

    def _repair(self, names: Iterable[str]) -> None:
        for name in names:
            host = self._host(name)
            self.heal(name)
            if self.alive(name):
                self.link_up(name)
                host.thaw()
                host.empty_disks()
                host.share_read_only(False)
            else:
                self.boot(name)
        if names:
            self._wait_for_slurm()
        self._touched.clear()

    def _wait_for_slurm(self) -> None:
        if self._record.slurm:
            wait_until("all Slurm nodes to work", self._slurm_works, _SLURM_READY_WITHIN_S)

    def _slurm_works(self) -> bool:
        """Return whether all nodes work; resume those that Slurm has marked down."""
        listed = self.run(CONTROLLER, ["sinfo", "-h", "-N", "-o", "%N %T"], check=False)
        states = dict(line.split() for line in listed.stdout.splitlines())
        for node, state in states.items():
            if state.rstrip("*") in ("down", "drained", "unknown"):
                self.run(
                    CONTROLLER,
                    ["scontrol", "update", f"NodeName={node}", "State=RESUME"],
                    check=False,
                )
        return len(states) == self._record.hosts and set(states.values()) <= set(_WORKING_STATES)

    def _host(self, name: str) -> Host:
        try:
            return self._hosts[name]
        except KeyError:
            raise LabError(f"no host {name!r}; there are {', '.join(self.names)}") from None

    def _touch(self, name: str) -> Host:
        host = self._host(name)
        self._touched.add(name)
        return host


def _without_nested(*paths: Path) -> tuple[Path, ...]:
    resolved = {path.resolve() for path in paths}
    return tuple(
        sorted(
            path
            for path in resolved
            if not any(path.is_relative_to(other) for other in resolved - {path})
        )
    )
