"""Time from the command until all ranks have joined a gloo group: ours, torchrun and TorchX.

    python tests/benchmarks/startup.py --ranks 1 4 --repeats 5

The script imports torch, joins a group and records when all ranks have joined. Times are wall-clock
seconds from the start of the command; `ended` is when the command returned. Runs are interleaved,
so that other load affects all alike; the median counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
import os, time
import torch, torch.distributed as dist
dist.init_process_group("gloo")
# All ranks have joined once one of them has the numbers of all.
t = torch.ones(1)
dist.all_reduce(t)
if dist.get_rank() == 0:
    assert t.item() == int(os.environ["WORLD_SIZE"])
    with open(os.environ["JOINED"], "w") as file:
        file.write(repr(time.time()))
dist.destroy_process_group()
"""

TARGET = 0.6
"""Our target at 4 ranks, relative to torchrun."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Seconds from the start of the command."""

    joined: float
    ended: float


def free_port() -> int:
    """Return a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def ours(script: Path, ranks: int) -> list[str]:
    """Everything of ours: command line, config, plan, checks, supervision, agent, shim."""
    root = script.parent / "storage"
    return [
        *(sys.executable, "-m", "launcher", "recipe=script", f"script={script}", "nodes=1"),
        *(f"slots={ranks}", "device=cpu", f"storage.root={root}"),
    ]


def agent(script: Path, ranks: int) -> list[str]:
    """Our agent alone, as the plan starts it."""
    return [
        *(sys.executable, "-m", "launcher.runtime.agent", "--nproc-per-node", str(ranks)),
        *("--rdzv-endpoint", f"127.0.0.1:{free_port()}", "--", str(script)),
    ]


def torchrun(script: Path, ranks: int) -> list[str]:
    """Plain torchrun on its own port."""
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "1"),
        *("--nproc-per-node", str(ranks), "--master-port", str(free_port()), str(script)),
    ]


def torchx(script: Path, ranks: int) -> list[str]:
    """TorchX with its local scheduler."""
    program = shutil.which("torchx", path=str(Path(sys.executable).parent)) or "torchx"
    return [
        *(program, "run", "--scheduler", "local_cwd", "dist.ddp", "-j", f"1x{ranks}"),
        *("--script", script.name),
    ]


CONTENDERS: dict[str, Callable[[Path, int], list[str]]] = {
    "launcher": ours,
    "agent alone": agent,
    "torchrun": torchrun,
    "torchx": torchx,
}


def measure(argv: Sequence[str], folder: Path) -> Result:
    """Run one command and return its times."""
    joined = folder / "joined"
    joined.unlink(missing_ok=True)
    environ = {
        # For all: otherwise torchrun warns, and gloo asks a name server for this host.
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "JOINED": str(joined),
        # TorchX's component starts `torchrun` by name.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        ),
    }
    began = time.time()
    done = subprocess.run(
        argv, env=environ, cwd=folder, capture_output=True, text=True, check=False
    )
    ended = time.time() - began
    if done.returncode != 0 or not joined.exists():
        raise SystemExit(f"{' '.join(argv)}\nfailed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    return Result(joined=float(joined.read_text()) - began, ended=ended)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="startup-") as name:
        folder = Path(name)
        script = folder / "join.py"
        script.write_text(SCRIPT)
        for ranks in asked.ranks:
            compare(asked.only, script, ranks, asked.repeats)


def compare(names: Sequence[str], script: Path, ranks: int, repeats: int) -> None:
    """Run the launchers in turn and print their medians."""
    results: dict[str, list[Result]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            results[name].append(measure(CONTENDERS[name](script, ranks), script.parent))
    print(f"\n{ranks} rank(s), median of {repeats} (seconds)")
    joined = {name: statistics.median(each.joined for each in results[name]) for name in names}
    base = joined.get("torchrun")
    for name in names:
        ended = statistics.median(each.ended for each in results[name])
        low, high = min(r.joined for r in results[name]), max(r.joined for r in results[name])
        ratio = f"  {joined[name] / base:4.2f}x torchrun" if base else ""
        print(
            f"  {name:12} joined {joined[name]:5.2f} ({low:.2f}..{high:.2f})  ended {ended:5.2f}"
            + ratio
        )
    if base and "launcher" in joined and ranks == 4:
        kept = "kept" if joined["launcher"] / base <= TARGET else "MISSED"
        print(f"  target {TARGET}x at 4 ranks: {kept}")


if __name__ == "__main__":
    main()
