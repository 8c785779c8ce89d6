"""Simulated: an `ssh` that reaches nobody, and the far side of any number of nodes in one process.

The client is a real process per connection (perl, no modules; about 5 MB and 2 ms). It computes for
as long as a real client does at a login, then carries bytes to and fro. The far side, an asyncio
loop, sends what a node agent sends, after the delays of a network.
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
"""TCP, the two versions, the exchange of keys, the user's key, the session."""
ROUND_TRIPS_OF_SESSION = 1
"""Over a connection that is there already."""
AGENT_STARTS_IN_S = 0.05
_BACKLOG = 4096
_TICK_S = 1e-5
"""Tells apart what happens in order at one time."""

_CLIENT = """#!/usr/bin/perl
# Simulated ssh: carries bytes between its caller and one process that plays all nodes.
if ($ARGV[0] eq "-G") { exec "SSH", @ARGV or die }  # what it says depends on no node
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
    """Put the client into `folder`, which has to stand first on PATH."""
    real = shutil.which("ssh")
    if real is None or not Path("/usr/bin/perl").exists():
        raise SystemExit("needs ssh (for `ssh -G`, which asks nobody) and perl")
    client = folder / "ssh"
    text = _CLIENT.replace("SOCKET", str(socket)).replace("LOGIN_CPU_S", f"{login_cpu_s}")
    client.write_text(text.replace("SSH", real))
    client.chmod(0o755)


@dataclass
class Seen:
    """What the far side saw since `clear`."""

    clients: int = 0
    """That run now."""
    most_clients: int = 0
    masters: set[str] = field(default_factory=set)
    """Connections that stay open for the next client; with real ssh each is a process as well."""
    most_masters: int = 0

    def clear(self) -> None:
        """Forget what is over."""
        self.most_clients, self.most_masters = self.clients, len(self.masters)


class FarSide:
    """All nodes behind one socket."""

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s
        self.seen = Seen()

    async def listen(self, socket: Path) -> asyncio.Server:
        """Answer clients from now on."""
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
        seen = self._far.seen
        seen.clients += 1
        seen.most_clients = max(seen.most_clients, seen.clients)

    def connection_lost(self, error: Exception | None) -> None:
        self._far.seen.clients -= 1

    def eof_received(self) -> bool:
        return True  # a question ends its stdin and waits for the answer

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        while self._take():
            pass

    # --- what arrives

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
            self._far.seen.masters.discard(master)
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
        seen = self._far.seen
        trips = ROUND_TRIPS_OF_SESSION
        if not master or master not in seen.masters:
            trips = ROUND_TRIPS_OF_LOGIN
        self._open_at = self._loop.time() + trips * self._far.latency_s
        if master:
            seen.masters.add(master)
            seen.most_masters = max(seen.most_masters, len(seen.masters))
            Path(master.partition("=")[2]).touch()

    def _take_request(self) -> bool:
        if b"\n" not in self._bytes[self._program :]:
            return False
        del self._bytes[: self._program]
        request = json.loads(self._line() or b"")
        self._name = request["name"]
        self._take = self._take_message
        self._tell(ready=1)
        if "source" in request["common"]:
            answer = json.dumps(request["jobs"][self._name]["request"])
            self._tell(stdout=answer, stderr="", code=0)
            self._after(self._far.latency_s, self._transport.close)
        else:
            self._tell(started=1)
        return True

    def _take_message(self) -> bool:
        line = self._line()
        if line is None:
            return False
        self._obey(json.loads(line))
        return True

    def _obey(self, message: Mapping[str, Any]) -> None:
        if "ping" in message:
            self._tell(heartbeat=True)
        if "signal" in message or "kill" in message:
            self._tell(exit=0)
            self._tell(left=[])
            self._after(self._far.latency_s, self._transport.close)

    # --- what is said

    def _tell(self, **message: object) -> None:
        value = {"node": self._name, "part": json.dumps(message), "number": 0, "of": 1}
        text = f"\n{json.dumps(value)}\n".encode()
        self._after(self._far.latency_s, lambda: self._transport.write(text))

    def _after(self, seconds: float, action: Callable[[], object]) -> None:
        """Act when the connection is open and the word has gone to and fro, one after the other."""
        at = max(self._loop.time(), self._open_at) + seconds
        self._next = max(at, self._next + _TICK_S)
        self._loop.call_at(self._next, action)
