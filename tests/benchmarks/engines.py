"""Engines side by side: start-up, allreduce by size, a training step, and the recipe.

    python tests/benchmarks/engines.py --ranks 2,4

Prints one Markdown table per number of ranks. Engines that are not installed are skipped. Run it on
an idle machine: other processes on the same cores change the results.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ENGINES = ("torchrun", "mpi", "horovod", "horovod_mpi")
SIZES = {"4 kB": 1_000, "1 MB": 250_000, "16 MB": 4_000_000}
REPEATS = 12
SCRIPT = ("recipe=script", f"script={__file__}")
RECIPE = ("recipe=bert_finetune", "model=bert_tiny", f"train.max_steps={REPEATS}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", default="2,4")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:  # one: model and data are staged once
        for ranks in map(int, asked.ranks.split(",")):
            rows = [(engine, measure(engine, ranks, Path(folder))) for engine in available()]
            show(ranks, rows)


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


def measure(engine: str, ranks: int, folder: Path) -> dict[str, float]:
    """Run this file and the recipe under the launcher, as a user does; return the results."""
    words = (f"backend={engine}", f"nodes={ranks}", "device=cpu")
    launch(folder, (*SCRIPT, *words, f"run_id=script-{engine}-{ranks}"))
    found: dict[str, float] = json.loads(Path(folder, "found.json").read_text())
    started = found.pop("met_at") - began(folder, f"script-{engine}-{ranks}")
    launch(folder, (*RECIPE, *words, f"run_id=recipe-{engine}-{ranks}"))
    run = folder / "outputs" / "runs" / f"recipe-{engine}-{ranks}"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    return {
        "start-up, s": started,
        **found,
        "recipe: to its first step, s": steps[0]["at"] - began(folder, run.name),
        "recipe: step, ms": 1000 * statistics.median(each["step_time_s"] for each in steps[2:]),
    }


def launch(folder: Path, words: Sequence[str]) -> None:
    subprocess.run(
        (sys.executable, "-m", "launcher", *words),
        cwd=folder,
        env={**os.environ, "BENCHMARK_RESULT": str(folder / "found.json")},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def began(folder: Path, run_id: str) -> float:
    """Return when the supervisor started the ranks."""
    events = folder / "outputs" / "runs" / run_id / "attempts" / "0001" / "events.jsonl"
    return float(json.loads(events.read_text().splitlines()[0])["at"])


def show(ranks: int, rows: Sequence[tuple[str, dict[str, float]]]) -> None:
    names = list(rows[0][1])
    print(f"\n{ranks} ranks\n\n| engine | {' | '.join(names)} |")
    print("| --- " * (len(names) + 1) + "|")
    for engine, found in rows:
        print(f"| {engine} | {' | '.join(f'{found[name]:.2f}' for name in names)} |")


def be_rank() -> None:
    from launcher import runtime

    ctx = runtime.init()
    ctx.engine.barrier(120)
    found = {"met_at": time.time(), **reductions(ctx.engine), **steps(ctx.engine)}
    if ctx.is_main:
        Path(os.environ["BENCHMARK_RESULT"]).write_text(json.dumps(found))


def reductions(engine: Any) -> dict[str, float]:
    import torch

    found = {}
    for name, size in SIZES.items():
        tensor = torch.ones(size)
        found[f"allreduce {name}, ms"] = median_ms(lambda: engine.all_reduce(tensor))  # noqa: B023
    return found


def steps(engine: Any) -> dict[str, float]:
    """Train a small transformer: 2 layers of 256, 64 tokens, batch 4 per rank."""
    import torch

    layer = torch.nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True)
    model = engine.wrap_model(torch.nn.TransformerEncoder(layer, 2))
    optimizer = engine.wrap_optimizer(torch.optim.AdamW(model.parameters()))
    data = torch.randn(4, 64, 256)

    def step() -> None:
        with engine.accumulate(model, last=True):
            model(data).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return {"step, ms": median_ms(step)}


def median_ms(action: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times[2:])


if __name__ == "__main__":
    be_rank() if "BENCHMARK_RESULT" in os.environ else main()
