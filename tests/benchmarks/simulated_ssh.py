"""Simulates `ssh`, and the remote side of any number of nodes in one process.

Each connection has a real client process (perl, no modules; about 5 MB and 2 ms). It computes for
as long as a real client does at a login, then forwards bytes. The remote side, an asyncio loop,
sends the messages of a node agent, after the delays of a network.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROUND_TRIPS_OF_LOGIN = 5
"""TCP, the versions, the key exchange, the user's key, the session."""
ROUND_TRIPS_OF_SESSION = 1
"""Over an existing connection."""
AGENT_STARTS_IN_S = 0.05
_BACKLOG = 4096
_TICK_S = 1e-5
"""Keeps the order of messages with the same delay."""

_CLIENT = """#!/usr/bin/perl
# Simulated ssh: forwards bytes between its caller and one process that simulates all nodes.
if ($ARGV[0] eq "-G") { exec "SSH", @ARGV or die }  # its output does not depend on the node
my ($master) = map { /^ControlPath=(.*)/ ? $1 : () } @ARGV;
unless ($master && -e $master) { while (1) { my ($user, $kernel) = times;
  last if $user + $kernel >= LOGIN_CPU_S } }
socket(my $far, 1, 1, 0) or die $!;
connect($far, pack("S a108", 1, "SOCKET")) or die $!;
sub put { my ($to, $data) = @_; while (length $data) {
  my $n = syswrite($to, $data) // exit 255; substr($data, 0, $n, "") } }
put($far, join("\\0", @ARGV) . "\\n");
my $wanted = "";
vec($wanted, 0, 1) = vec($wanted, fileno($far), 1) = 1;
while (1) {
  select(my $ready = $wanted, undef, undef, undef);
  if (vec($ready, fileno($far), 1)) {
    sysread($far, my $data, 65536) or exit 0;
    put(*STDOUT, $data);
  }
  if (vec($ready, 0, 1)) {
    if (sysread(STDIN, my $data, 65536)) { put($far, $data) }
    else { vec($wanted, 0, 1) = 0; shutdown($far, 1) }
  }
}
"""


def install(folder: Path, socket: Path, *, login_cpu_s: float) -> None:
    """Put the client into `folder`, which must be first on PATH."""
    real = shutil.which("ssh")
    if real is None or not Path("/usr/bin/perl").exists():
        raise SystemExit("needs perl, and ssh (for `ssh -G`, which does not connect)")
    client = folder / "ssh"
    text = _CLIENT.replace("SOCKET", str(socket)).replace("LOGIN_CPU_S", f"{login_cpu_s}")
    client.write_text(text.replace("SSH", real))
    client.chmod(0o755)


@dataclass
class Counts:
    """Clients and connections since `clear`."""

    clients: int = 0
    """Running now."""
    most_clients: int = 0
    masters: set[str] = field(default_factory=set)
    """Connections kept open for the next client; with real ssh, each is a process."""
    most_masters: int = 0

    def clear(self) -> None:
        """Reset the maxima."""
        self.most_clients, self.most_masters = self.clients, len(self.masters)


class FarSide:
    """All nodes behind one socket."""

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s
        self.counts = Counts()

    async def listen(self, socket: Path) -> asyncio.Server:
        """Start to answer clients."""
        loop = asyncio.get_running_loop()
        return await loop.create_unix_server(lambda: _Session(self), socket, backlog=_BACKLOG)


class _Session(asyncio.Protocol):
    """One client: its login, its node agent, and the command of that agent."""

    def __init__(self, far: FarSide) -> None:
        self._far = far
        self._loop = asyncio.get_running_loop()
        self._bytes = bytearray()
        self._take: Callable[[], bool] = self._take_argv
        self._open_at = 0.0
        self._next = 0.0
        self._program = 0
        self._name = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        counts = self._far.counts
        counts.clients += 1
        counts.most_clients = max(counts.most_clients, counts.clients)

    def connection_lost(self, error: Exception | None) -> None:
        self._far.counts.clients -= 1

    def eof_received(self) -> bool:
        return True  # a question ends its stdin and waits for the answer

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        while self._take():
            pass

    # --- receive

    def _line(self) -> bytes | None:
        line, newline, rest = self._bytes.partition(b"\n")
        if not newline:
            return None
        self._bytes = rest
        return bytes(line)

    def _take_argv(self) -> bool:
        line = self._line()
        if line is None:
            return False
        argv = line.decode().split("\0")
        master = next((each for each in argv if each.startswith("ControlPath=")), "")
        if "-O" in argv:
            self._far.counts.masters.discard(master)
            Path(master.partition("=")[2]).unlink(missing_ok=True)
            self._transport.close()
            return False
        self._log_in(master)
        program = re.search(r"buffer\.read\((\d+)\)", argv[-1])
        if program is None:  # not a node agent: a command that prints nothing and ends immediately
            self._after(self._far.latency_s, self._transport.close)
            return False
        self._program = int(program[1])
        self._open_at += AGENT_STARTS_IN_S
        self._take = self._take_request
        return True

    def _log_in(self, master: str) -> None:
        counts = self._far.counts
        trips = ROUND_TRIPS_OF_SESSION
        if not master or master not in counts.masters:
            trips = ROUND_TRIPS_OF_LOGIN
        self._open_at = self._loop.time() + trips * self._far.latency_s
        if master:
            counts.masters.add(master)
            counts.most_masters = max(counts.most_masters, len(counts.masters))
            Path(master.partition("=")[2]).touch()

    def _take_request(self) -> bool:
        if b"\n" not in self._bytes[self._program :]:
            return False
        del self._bytes[: self._program]
        request = json.loads(self._line() or b"")
        self._name = request["name"]
        self._take = self._take_message
        self._send(ready=1)
        if "source" in request["common"]:
            answer = json.dumps(request["jobs"][self._name]["request"])
            self._send(stdout=answer, stderr="", code=0)
            self._after(self._far.latency_s, self._transport.close)
        else:
            self._send(started=1)
        return True

    def _take_message(self) -> bool:
        line = self._line()
        if line is None:
            return False
        self._handle(json.loads(line))
        return True

    def _handle(self, message: Mapping[str, Any]) -> None:
        if "ping" in message:
            self._send(heartbeat=True)
        if "signal" in message or "kill" in message:
            self._send(exit=0)
            self._send(left=[])
            self._after(self._far.latency_s, self._transport.close)

    # --- send

    def _send(self, **message: object) -> None:
        value = {"node": self._name, "part": json.dumps(message), "number": 0, "of": 1}
        text = f"\n{json.dumps(value)}\n".encode()
        self._after(self._far.latency_s, lambda: self._transport.write(text))

    def _after(self, seconds: float, action: Callable[[], object]) -> None:
        """Act after `seconds`, once the connection is open; keep the order of the calls."""
        at = max(self._loop.time(), self._open_at) + seconds
        self._next = max(at, self._next + _TICK_S)
        self._loop.call_at(self._next, action)
