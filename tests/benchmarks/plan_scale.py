"""Time and memory of a plan, by the number of nodes.

    python tests/benchmarks/plan_scale.py --nodes 8 64 256 1000 10000

The nodes are simulated (`cluster=sim`): the plan is made and printed as for real ones, but nothing
is contacted or started. Each size is planned several times, in its own process; the median counts.
Seconds are CPU time, which other processes change little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TARGETS = {8: (1.0, 100.0), 10_000: (2.0, 500.0)}
"""The most CPU seconds and MB of `plan --json`, by the number of nodes."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of one plan."""

    cpu_s: float
    peak_mb: float
    printed_mb: float


def plan(nodes: int, how: str, backend: str, folder: Path) -> Cost:
    """Plan `nodes` nodes once; `how` is `--json` or empty."""
    argv = [
        *(sys.executable, "-m", "launcher", "plan", "cluster=sim", f"nodes={nodes}", "slots=8"),
        *("recipe=bert_finetune", f"backend={backend}", f"storage.root={folder}"),
        *([how] if how else []),
    ]
    printed = folder / "plan"
    output = (os.POSIX_SPAWN_OPEN, 1, str(printed), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    pid = os.posix_spawn(sys.executable, argv, os.environ, file_actions=[output])
    _, status, used = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{' '.join(argv)} failed")
    return Cost(
        cpu_s=used.ru_utime + used.ru_stime,
        peak_mb=used.ru_maxrss / 1024,
        printed_mb=printed.stat().st_size / 1e6,
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[8, 64, 256, 1000, 10_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backend", default="torchrun")
    asked = parser.parse_args()
    print("  nodes   ranks  form   CPU-s  peak MB  printed MB")
    with tempfile.TemporaryDirectory(prefix="plan-scale-") as name:
        for nodes in asked.nodes:
            for how in ("--json", ""):
                costs = [plan(nodes, how, asked.backend, Path(name)) for _ in range(asked.repeats)]
                show(nodes, how, costs)


def show(nodes: int, how: str, costs: list[Cost]) -> None:
    """Print the median of `costs`, and whether it meets the target."""
    cpu_s = statistics.median(cost.cpu_s for cost in costs)
    peak_mb = max(cost.peak_mb for cost in costs)
    form = "JSON" if how else "text"
    row = (
        f"{nodes:7} {nodes * 8:7}  {form}  {cpu_s:6.2f} {peak_mb:8.0f} {costs[0].printed_mb:11.2f}"
    )
    if nodes in TARGETS and how:
        most_cpu_s, most_mb = TARGETS[nodes]
        kept = "kept" if cpu_s <= most_cpu_s and peak_mb <= most_mb else "MISSED"
        row += f"   target {most_cpu_s:g} s, {most_mb:g} MB: {kept}"
    print(row, flush=True)


if __name__ == "__main__":
    main()
