"""Save and load a replicated training state: this library beside `torch.distributed.checkpoint`.

    python tests/benchmarks/checkpoint_vs_dcp.py [--gib 1.0] [--ranks 2] [--rounds 2] [--json FILE]

Each variant runs in new processes over gloo, one after the other, on the same state and the same
disk. The folder is removed afterwards. Figures are those of the slowest rank. `stall` is how long
the training loop waits, `total` until the checkpoint is complete (ours: durable), `load` reads it
back (page cache warm for both), `memory` is the rise of a rank's peak during a save, with buffers.
The first save of a process may allocate buffers, so it is shown separately.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp

from launcher import checkpoint
from launcher.checkpoint.state import collect

MIB = 2**20
TRAIN_S = 3.0


class GlooGroup:
    """The one operation that a checkpointer needs, over the default process group."""

    name = "gloo"

    def __init__(self) -> None:
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()

    def all_gather_object(self, obj: Any) -> list[Any]:
        found: list[Any] = [None] * self.world_size
        dist.all_gather_object(found, obj)
        return found


def training_state(size_bytes: int, *, seed: int = 0) -> checkpoint.TrainingState:
    """Return a model and its AdamW state, together about `size_bytes`."""
    torch.manual_seed(seed)
    width = 1024
    layers = max(1, round(size_bytes / 3 / (width * width * 4)))
    model = torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(layers)))
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        optimizer.state[parameter] = {
            "step": torch.tensor(1.0),
            "exp_avg": torch.rand_like(parameter),
            "exp_avg_sq": torch.rand_like(parameter),
        }
    return checkpoint.TrainingState(model=model, optimizer=optimizer, step=1)


def plain_state(state: checkpoint.TrainingState) -> dict[str, torch.Tensor]:
    return {name: tensor.detach() for name, tensor in collect(state).tensors.items()}


def ours(folder: Path, state: checkpoint.TrainingState, rounds: int) -> dict[str, Any]:
    saver = checkpoint.Checkpointer(folder, group=GlooGroup())
    saver.restore(state, resume="never")
    train()
    saves = []
    for _ in range(rounds):
        state.step += 1
        saves.append(timed_save(lambda: saver.save(state), saver.wait))
    saver.close()
    before = {name: tensor.clone() for name, tensor in plain_state(state).items()}
    loads = []
    for _ in range(rounds):
        spoil(state)
        reader = checkpoint.Checkpointer(folder, group=GlooGroup())
        loads.append(timed(lambda reader=reader: reader.restore(state, resume="required")))
        reader.close()
    load_s = statistics.median(loads)
    return {**summary(saves), "load_s": load_s, "equal": same(before, plain_state(state))}


def dcp_sync(folder: Path, state: checkpoint.TrainingState, rounds: int) -> dict[str, Any]:
    plain = plain_state(state)
    train()
    saves = [
        timed_save(lambda at=at: dcp.save(plain, checkpoint_id=folder / str(at)), lambda: None)
        for at in range(rounds)
    ]
    return {**summary(saves), **dcp_load(folder / str(rounds - 1), state, rounds)}


def dcp_async(folder: Path, state: checkpoint.TrainingState, rounds: int) -> dict[str, Any]:
    plain = plain_state(state)
    train()
    saves = []
    for at in range(rounds):
        running: list[Any] = []
        saves.append(
            timed_save(
                lambda at=at, running=running: running.append(
                    dcp.async_save(plain, checkpoint_id=folder / str(at))
                ),
                lambda running=running: running[0].result(),
            )
        )
    return {**summary(saves), **dcp_load(folder / str(rounds - 1), state, rounds)}


def dcp_load(folder: Path, state: checkpoint.TrainingState, rounds: int) -> dict[str, Any]:
    before = {name: tensor.clone() for name, tensor in plain_state(state).items()}
    plain = plain_state(state)
    loads = []
    for _ in range(rounds):
        spoil(state)
        loads.append(timed(lambda: dcp.load(plain, checkpoint_id=folder)))
    return {"load_s": statistics.median(loads), "equal": same(before, plain)}


def train() -> None:
    """Run the steps before the first save; a library may prepare in the meantime."""
    time.sleep(TRAIN_S)


VARIANTS: dict[str, Callable[[Path, checkpoint.TrainingState, int], dict[str, Any]]] = {
    "ours": ours,
    "dcp sync": dcp_sync,
    "dcp async": dcp_async,
}


def timed(action: Callable[[], object]) -> float:
    dist.barrier()
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def timed_save(save: Callable[[], object], wait: Callable[[], object]) -> dict[str, float]:
    dist.barrier()
    started = time.perf_counter()
    save()
    stall = time.perf_counter() - started
    wait()
    total = time.perf_counter() - started
    return {"stall_s": stall, "total_s": total, "peak_bytes": memory("VmHWM")}


def memory(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def summary(saves: list[dict[str, float]]) -> dict[str, Any]:
    later = saves[1:] or saves
    return {
        "first_stall_s": saves[0]["stall_s"],
        "stall_s": statistics.median(save["stall_s"] for save in later),
        "total_s": statistics.median(save["total_s"] for save in later),
        "peak_bytes": max(save["peak_bytes"] for save in saves),
    }


def spoil(state: checkpoint.TrainingState) -> None:
    with torch.no_grad():
        for tensor in plain_state(state).values():
            tensor.zero_()


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def rank_main(rank: int, args: argparse.Namespace, name: str, folder: Path, answers: Any) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = dist.FileStore(str(folder / "rendezvous"), args.ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=args.ranks)
    state = training_state(int(args.gib * 1024 * MIB))
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = memory("VmRSS")
    result = VARIANTS[name](folder / "checkpoints", state, args.rounds)
    answers.put({**result, "memory_bytes": result["peak_bytes"] - before})
    dist.barrier()
    dist.destroy_process_group()


def run(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Run one variant and return the figures of the slowest rank."""
    folder = Path(tempfile.mkdtemp(prefix="checkpoint-benchmark-", dir=args.dir))
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    ranks: list[Any] = []
    try:
        ranks += [
            context.Process(target=rank_main, args=(rank, args, name, folder, answers))
            for rank in range(args.ranks)
        ]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
        if any(process.exitcode for process in ranks):
            sys.exit(f"{name}: a rank failed")
        found = [answers.get() for _ in ranks]
    finally:
        for process in ranks:
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)
        os.sync()  # the next variant should not wait for this one's writes
    return {
        key: all(item[key] for item in found)
        if key == "equal"
        else max(item[key] for item in found)
        for key in found[0]
    }


def show(results: dict[str, dict[str, Any]]) -> None:
    print(
        f"{'':10} {'first stall':>12} {'stall':>9} {'total':>9} {'load':>9} {'memory':>11}  exact"
    )
    for name, item in results.items():
        print(
            f"{name:10} {item['first_stall_s']:10.3f} s {item['stall_s']:7.3f} s "
            f"{item['total_s']:7.2f} s "
            f"{item['load_s']:7.2f} s {item['memory_bytes'] / MIB:7.0f} MiB  {item['equal']}"
        )
    mine = results["ours"]
    for name, item in results.items():
        if name != "ours":
            ratios = {
                key: mine[f"{key}_s"] / item[f"{key}_s"]
                for key in ("first_stall", "stall", "total", "load")
            }
            print(
                f"ours / {name}: "
                + ", ".join(f"{key} {value:.2f}" for key, value in ratios.items())
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--dir", default=None, help="where to write; the temporary folder by default"
    )
    parser.add_argument("--json", default=None)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # leaves nothing behind
    results = {name: run(name, args) for name in VARIANTS}
    show(results)
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
