"""The cost of `determinism=logical_shards`: steps with and without it alternate in the same ranks.

    python tests/benchmarks/logical_shards.py --ranks 2

Prints a Markdown table: median milliseconds of a step, and the ratio to an ordinary step. The model
has the size of MiniLM (22 million parameters), a batch 32 samples of 48 tokens, dropout is on.
Engines that are not installed are skipped.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ENGINES = ("torchrun", "mpi", "horovod", "horovod_mpi")
COUNTS = (4, 8, 16)
ROUNDS = 6
BATCH, TOKENS, WORDS, WIDTH, LAYERS = 32, 48, 30_522, 384, 6
COMMAND = ("-m", "launcher", "recipe=script", f"script={__file__}", "device=cpu", "nodes=1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=2)
    ranks = parser.parse_args().ranks
    print("| engine | one shard per rank | " + " | ".join(f"{n} shards" for n in COUNTS) + " |")
    print("| --- " * (len(COUNTS) + 2) + "|")
    for engine in available():
        plain, *sharded = measure(engine, ranks)
        cells = [f"{each:.0f} ms, {each / plain:.2f}" for each in sharded]
        print(f"| {engine} | {plain:.0f} ms | {' | '.join(cells)} |", flush=True)


def available() -> list[str]:
    from launcher.engines import require
    from launcher.errors import EngineMissingError

    found = []
    for engine in ENGINES:
        try:
            require(engine)
        except EngineMissingError:
            continue
        found.append(engine)
    return found


def measure(engine: str, ranks: int) -> list[float]:
    """Run this file under the launcher and return the results of rank 0, without shards first."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "found.json")
        subprocess.run(
            (sys.executable, *COMMAND, f"backend={engine}", f"slots={ranks}"),
            cwd=folder,
            env={**os.environ, "BENCHMARK_RESULT": str(result)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        found: list[float] = json.loads(result.read_text())
        return found


def be_rank() -> None:
    import torch

    from launcher import runtime
    from launcher.runtime.engines.logical import LogicalShards

    ctx = runtime.init()
    # Steps with shards use one thread. Ordinary steps must, too, or the ratio would compare
    # threads; with as many ranks as cores, they do anyway.
    torch.set_num_threads(1)
    ways = [Way(engine) for engine in (ctx.engine, *(LogicalShards(ctx.engine, n) for n in COUNTS))]
    times: list[list[float]] = [[] for _ in ways]
    for round_number in range(ROUNDS + 1):
        for way, found in zip(ways, times, strict=True):
            ctx.engine.barrier(120)
            began = time.perf_counter()
            way.step()
            if round_number:  # the first round allocates
                found.append(1000 * (time.perf_counter() - began))
    if ctx.is_main:
        medians = [statistics.median(found) for found in times]
        Path(os.environ["BENCHMARK_RESULT"]).write_text(json.dumps(medians))


class Way:
    """A model, trained over an engine."""

    def __init__(self, engine: Any) -> None:
        import torch

        layer = torch.nn.TransformerEncoderLayer(WIDTH, 12, 4 * WIDTH, batch_first=True)
        plain = torch.nn.Sequential(
            torch.nn.Embedding(WORDS, WIDTH), torch.nn.TransformerEncoder(layer, LAYERS)
        )
        self.engine = engine
        self.model = engine.wrap_model(plain)
        self.optimizer = engine.wrap_optimizer(torch.optim.AdamW(self.model.parameters()))
        self.data = torch.randint(WORDS, (BATCH, TOKENS))

    def step(self) -> None:
        import torch

        from launcher import checkpoint

        losses = []
        for shard in self.engine.shards:
            torch.manual_seed(shard.number)
            mine = self.data[checkpoint.share(range(BATCH), shard.number, shard.count)]
            with self.engine.accumulate(self.model, last=True):
                loss = self.model(mine).square().mean()
                loss.backward()
            losses.append(loss.detach())
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.engine.sum_shards(losses).item()


if __name__ == "__main__":
    be_rank() if "BENCHMARK_RESULT" in os.environ else main()
