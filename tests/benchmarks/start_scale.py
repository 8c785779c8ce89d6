"""Start of many nodes over ssh: time, and the resources of the launcher's machine.

    python tests/benchmarks/start_scale.py --nodes 8 64 256 1000 --latency-ms 50

The remote side is SIMULATED (see simulated_ssh.py): a login takes 5 round trips and, on this
machine, 60 ms of a core, like OpenSSH 9.2 with its default key exchange; another session over the
same connection 1 round trip; the start of a node agent 50 ms. The remote side computes nothing.
Real are the transport, `ssh -G`, a process per client, its pipes, and all bytes.

Each size runs in its own process: `ask` logs in and asks all nodes a question, `again` asks one
more over the same connections. As in a run, the start has its own transport and logs in again:
`start` ends when all node agents have reported that their commands run, `end` lasts from SIGTERM
until all have ended, `close` closes the connections, `idle` is the CPU time of holding all nodes.
The peers only start: the shell's `for` loop, and 32 in parallel, like pdsh.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from simulated_ssh import FarSide, install

from launcher.specs import Command, Node
from launcher.transports import Reach, Transport, create, remote

MOST_IN_A_LOOP = 64
"""For more, the shell's loop takes minutes."""
PDSH_FANOUT = 32
HELD_S = 3.0
SAMPLE_S = 0.1
USUAL_FILES = 1024
"""The soft limit on open files on most systems."""


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[8, 64, 256, 1000])
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--login-cpu-ms", type=float, default=60.0)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--as-launcher", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.as_launcher:
        measure(asked.as_launcher)
    else:
        asyncio.run(compare(asked))


# --- the side of the launcher, a process per size


def measure(count: int) -> None:
    """Ask, start, hold and end `count` nodes; print the costs."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (USUAL_FILES, hard_limit()))
    nodes = tuple(
        Node(node_rank=rank, name=f"n{rank}", address=_host(rank), ssh=_host(rank), slots=8)
        for rank in range(count)
    )
    command = [
        Command(node_rank=rank, argv=("train",), env={"LAUNCHER_NODE_RANK": str(rank)}, cwd="/")
        for rank in range(count)
    ]
    took: dict[str, float] = {}
    reach = Reach(nodes=nodes, python=sys.executable)
    with tempfile.TemporaryDirectory() as folder:
        logs = {rank: Path(folder) / f"{rank}.log" for rank in range(count)}
        with contextlib.closing(create("ssh", reach)) as transport:
            with timed(took, "ask"):
                ask(transport, count)
            with timed(took, "again"):
                ask(transport, count)
        transport = create("ssh", reach)
        with timed(took, "start"):
            started = transport.start(command, logs=logs)
        cpu_s = time.process_time()
        time.sleep(HELD_S)
        took["idle"] = (time.process_time() - cpu_s) / HELD_S
        with timed(took, "end"):
            for process in started.values():
                process.signal(signal.SIGTERM)
            assert all(process.wait(60) == 0 for process in started.values())
        with timed(took, "close"):
            transport.close()
    took["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(took))


def ask(transport: Transport, count: int) -> None:
    """Ask all nodes a question; each returns the question."""
    requests = {rank: {"n": rank} for rank in range(count)}
    answers = transport.ask(remote.source("run_processes"), requests, timeout_s=60)
    assert {rank: answer.value for rank, answer in answers.items()} == requests, answers


@contextlib.contextmanager
def timed(took: dict[str, float], what: str) -> Iterator[None]:
    """Record the seconds inside."""
    began = time.monotonic()
    yield
    took[what] = time.monotonic() - began


def _host(rank: int) -> str:
    return f"198.18.{rank // 250}.{rank % 250 + 1}"  # reserved for benchmarks


# --- the remote side, and the peers


async def compare(asked: argparse.Namespace) -> None:
    """Measure the launcher and its peers for each number of nodes."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit(), hard_limit()))
    print(
        f"SIMULATED remote side, {asked.latency_ms:g} ms per round trip, {asked.login_cpu_ms:g} ms "
        "of a core per login; seconds unless stated otherwise"
    )
    print(
        "  nodes    ask  again  start    end  close  idle CPU  clients  masters  files  peak MB"
        + ("" if asked.no_peers else "  | for loop  32 parallel")
    )
    with tempfile.TemporaryDirectory(prefix="start-scale-") as name:
        socket = Path(name) / "far"
        install(Path(name), socket, login_cpu_s=asked.login_cpu_ms / 1000)
        os.environ["PATH"] = f"{name}:{os.environ['PATH']}"
        far_side = FarSide(asked.latency_ms / 1000)
        async with await far_side.listen(socket):
            for count in asked.nodes:
                print(await ours(count, far_side), end="", flush=True)
                print("" if asked.no_peers else await theirs(count), flush=True)


async def ours(count: int, far_side: FarSide) -> str:
    """Return our part of a row of the table."""
    far_side.counts.clear()
    launcher = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, "--as-launcher", str(count)), stdout=asyncio.subprocess.PIPE
    )
    counting = asyncio.create_task(count_files(launcher.pid))
    output, _ = await launcher.communicate()
    if launcher.returncode != 0:
        raise SystemExit(f"{count} nodes: exit code {launcher.returncode}")
    took, counts = json.loads(output), far_side.counts
    return (
        f"{count:7} {took['ask']:6.2f} {took['again']:6.2f} {took['start']:6.2f} {took['end']:6.2f}"
        f" {took['close']:6.2f} {took['idle']:9.1%} {counts.most_clients:8} {counts.most_masters:8}"
        f" {await counting:6} {took['peak_mb']:8.0f}"
    )


async def count_files(pid: int) -> int:
    """Return the largest number of open files of the process."""
    most = 0
    with contextlib.suppress(OSError):  # it has ended
        while True:
            most = max(most, len(os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208 - names, fast
            await asyncio.sleep(SAMPLE_S)
    return most


async def theirs(count: int) -> str:
    """Return the peers' part of a row: a command that ends immediately, on all nodes."""
    hosts = "\n".join(_host(rank) for rank in range(count))
    loop = (
        f"{await shell('while read -r host; do ssh $host train </dev/null; done', hosts):10.2f}"
        if count <= MOST_IN_A_LOOP
        else f"{'-':>10}"
    )
    return f"  |{loop} {await shell(f'xargs -P {PDSH_FANOUT} -I@ ssh -n @ train', hosts):10.2f}"


async def shell(line: str, hosts: str) -> float:
    """Return how long a command line takes for these hosts."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec("sh", "-c", line, stdin=asyncio.subprocess.PIPE)
    await process.communicate(hosts.encode())
    if process.returncode != 0:
        raise SystemExit(f"{line}: exit code {process.returncode}")
    return time.monotonic() - began


def hard_limit() -> int:
    """Return the hard limit on open files."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


if __name__ == "__main__":
    main()
