"""Step time of a plain DDP loop: torchrun against our agent and shim, in turn.

    python tests/benchmarks/step_overhead.py --ranks 2 --repeats 5

The loop does not use the launcher. Measured are the heartbeat thread, the status file, the step
hook and an idle Checkpointer. The target is 1 %. Each run reports two figures per step: the wall
time of its fastest tenth (the slowest of them), which other load does not disturb, and the CPU time
of all threads of rank 0, including heartbeats. A pair of runs is one sample.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
import os, sys, time
import torch, torch.distributed as dist
steps, width = int(sys.argv[1]), int(sys.argv[2])
dist.init_process_group("gloo")
torch.manual_seed(0)
model = torch.nn.Sequential(*[torch.nn.Linear(width, width) for _ in range(4)])
model = torch.nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.AdamW(model.parameters())
idle = None
if os.environ.get("IDLE_CHECKPOINTER"):
    from pathlib import Path
    from launcher import checkpoint

    class Group:
        rank, world_size = dist.get_rank(), dist.get_world_size()
        def all_gather_object(self, obj):
            found = [None] * self.world_size
            dist.all_gather_object(found, obj)
            return found

    folder = Path(os.environ["IDLE_CHECKPOINTER"])
    idle = checkpoint.Checkpointer(folder, group=Group(), generation=1)
batch = torch.randn(32, width)
times = []
cpu_began = time.process_time()
for step in range(steps):
    began = time.perf_counter()
    optimizer.zero_grad()
    model(batch).square().mean().backward()
    optimizer.step()
    times.append(time.perf_counter() - began)
if dist.get_rank() == 0:
    with open(os.environ["STEP_TIME"], "w") as file:
        cpu = (time.process_time() - cpu_began) / steps
        file.write(repr(sorted(times)[steps // 10]) + " " + repr(cpu))
dist.destroy_process_group()
"""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Seconds of one step."""

    quiet_s: float
    cpu_s: float

    def __str__(self) -> str:
        return f"{self.quiet_s * 1e3:7.3f} ms (cpu {self.cpu_s * 1e3:7.3f})"


def free_port() -> int:
    """Return a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def run(folder: Path, ranks: int, program: list[str], *, with_us: bool) -> Step:
    """Run the loop once."""
    found = folder / "step_time"
    found.unlink(missing_ok=True)
    port = free_port()
    if with_us:
        head = ["-m", "launcher.runtime.agent", "--rdzv-endpoint", f"127.0.0.1:{port}"]
    else:
        head = ["-m", "torch.distributed.run", "--nnodes", "1", "--master-port", str(port)]
    environ = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "GLOO_SOCKET_IFNAME": "lo",
        "STEP_TIME": str(found),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    if with_us:
        environ["LAUNCHER_RUN_DIR"] = str(folder / "run")
        environ["IDLE_CHECKPOINTER"] = str(folder / "run" / "checkpoints")
    done = subprocess.run(
        [sys.executable, *head, "--nproc-per-node", str(ranks), *program],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        logs = "".join(path.read_text() for path in folder.glob("run/attempts/*/logs/*"))
        raise SystemExit(f"failed:\n{done.stderr[-3000:]}\n{logs[-3000:]}")
    quiet, cpu = map(float, found.read_text().split())
    return Step(quiet_s=quiet, cpu_s=cpu)


def main() -> None:
    """Measure pairs and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--width", type=int, default=256)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="step-overhead-") as name:
        folder = Path(name)
        script = folder / "loop.py"
        script.write_text(SCRIPT)
        program = [str(script), str(asked.steps), str(asked.width)]
        pairs = []
        for number in range(asked.repeats):
            # The order alternates: the second run of a pair finds a warmer machine.
            order = (False, True) if number % 2 else (True, False)
            found = {us: run(folder, asked.ranks, program, with_us=us) for us in order}
            pairs.append((found[False], found[True]))
            print(f"  bare {found[False]}   ours {found[True]}")
    quiet = statistics.median(us.quiet_s / them.quiet_s for them, us in pairs)
    cpu = statistics.median(us.cpu_s / them.cpu_s for them, us in pairs)
    print(f"{asked.ranks} ranks: quiet step {quiet:.4f}x, CPU per step {cpu:.4f}x of bare torchrun")


if __name__ == "__main__":
    main()
