"""A run on the hosts of the lab: started as a person does, watched from outside."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab import Lab
from tests.lab.commands import wait_until
from tests.lab.host import REPOSITORY, HostProcess

WITHIN_S = 240
"""For whatever is waited for: the machine may be several times slower than usual."""

TRAIN = """
import json, os, signal, sys, time
import torch
from launcher import checkpoint, runtime

ctx = runtime.init()
options = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
if ctx.rank in options.get("deaf", []):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
workers = options.get("workers", 0)
loader = iter(torch.utils.data.DataLoader(range(10**6), batch_size=1, num_workers=workers))
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
sampler = checkpoint.GlobalSampler(12 * 40, batch_size=12)
state = checkpoint.TrainingState(
    model=model, optimizer=optimizer, cursor=checkpoint.DataCursor(seed=1)
)
steps = options.get("steps", 40)
slow = options.get("slow", [1])  # attempts in which something is going to happen
seen = (ctx.run_dir / "seen" / f"{ctx.attempt}-{ctx.rank}.jsonl")
seen.parent.mkdir(exist_ok=True)
with checkpoint.Checkpointer(
    ctx.run_dir / "checkpoints", group=ctx.engine, generation=ctx.attempt, on_commit=ctx.committed
) as saver, seen.open("a", buffering=1) as file:
    with ctx.phase("restore"):
        saver.restore(state, resume="auto")
    with ctx.phase("train"):
        while state.step < steps:
            next(loader)
            ids, following = sampler.batch(state.cursor)
            mine = [int(each) for each in checkpoint.share(ids, ctx.rank, ctx.world_size)]
            total = ctx.engine.all_reduce(torch.tensor([float(len(mine))]))
            assert int(total) == 12
            state.step, state.cursor = state.step + 1, following
            file.write(json.dumps({"step": state.step, "ids": mine}) + "\\n")
            numbers = dict(epoch=0.0, loss=1.0, lr=0.1, samples=12, step_time_s=0.1)
            ctx.log_step(step=state.step, total_steps=steps, **numbers)
            time.sleep(0.3 if ctx.attempt in slow else 0.03)
            stop = ctx.should_stop() and ctx.rank not in options.get("deaf", [])
            if state.step % 5 == 0 or stop:
                saver.save(state)
            if stop:
                saver.wait()
                ctx.leave_saved(state.step)
ctx.finish({"steps": state.step})
"""


@dataclass
class Training:
    """One run of the script above, in a folder that all hosts see."""

    lab: Lab
    folder: Path
    run_id: str
    started: list[HostProcess] = field(default_factory=list)

    @property
    def there(self) -> str:
        """The folder, as the hosts call it."""
        return f"/shared/{self.folder.name}"

    @property
    def run(self) -> Path:
        return self.folder / "outputs" / "runs" / self.run_id

    def start(self, host: str, *words: str, **options: Any) -> HostProcess:
        """Type the command on `host`."""
        (self.folder / "train.py").write_text(TRAIN)
        chosen = json.dumps(options).replace('"', '\\"')
        return self.types_in_background(
            host,
            *("recipe=script", "script=train.py", f'args=["{chosen}"]', f"run_id={self.run_id}"),
            *("cluster=hostfile", "device=cpu", "slots=1", "preflight.min_free_gb=0", *words),
        )

    def types_in_background(self, host: str, *words: str) -> HostProcess:
        process = self.lab.start(
            host,
            [sys.executable, "-m", "launcher", *words],
            cwd=self.there,
            env={"PYTHONPATH": str(REPOSITORY)},
        )
        self.started.append(process)
        return process

    def types(self, host: str, *words: str) -> tuple[int, str]:
        """Type a command on `host` and wait for its end; return its exit code and its words."""
        process = self.types_in_background(host, *words)
        before = process.output.read_text() if process.output.exists() else ""
        code = process.wait(WITHIN_S)
        return code, process.output.read_text()[len(before) :]

    def wait_until_step(self, step: int, *, attempt: int = 1) -> None:
        record = self.run / "attempts" / f"{attempt:04d}" / "ranks" / "0000.json"

        def reached() -> bool:
            with contextlib.suppress(OSError, ValueError):
                return int(json.loads(record.read_text())["step"]) >= step
            for process in self.started:
                assert process.poll() is None, process.output.read_text()
            return False

        wait_until(f"step {step} of attempt {attempt}", reached, WITHIN_S)

    def events(self, attempt: int = 1, *, kind: str = "") -> list[dict[str, Any]]:
        path = self.run / "attempts" / f"{attempt:04d}" / "events.jsonl"
        text = path.read_text() if path.exists() else ""
        found = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
        return [each for each in found if kind in ("", each["event"])]

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run / "result.json").read_text())
        return found

    def nodes(self, attempt: int) -> list[str]:
        plan = json.loads((self.run / "attempts" / f"{attempt:04d}" / "plan.json").read_text())
        return [node["name"] for node in plan["cluster"]["nodes"]]

    def processes(self) -> dict[str, list[str]]:
        """Return what lives of the run, by host: ranks, agents, data-loader workers."""
        mark = f"LAUNCHER_RUN_ID={self.run_id}"
        found = {
            name: [each.command for each in self.lab.processes(name, environ=mark)]
            for name in self.lab.names
            if self.lab.alive(name)
        }
        return {name: commands for name, commands in found.items() if commands}

    def wait_until_gone(self) -> None:
        wait_until("the end of all processes of the run", lambda: not self.processes(), WITHIN_S)

    def samples(self) -> list[int]:
        """Return the ids that the run learned from: for each step those of the newest attempt."""
        by_step: dict[int, tuple[int, list[int]]] = {}
        for path in (self.run / "seen").iterdir():
            attempt = int(path.name.partition("-")[0])
            for line in path.read_text().splitlines():
                told = json.loads(line)
                newest, ids = by_step.get(told["step"], (0, []))
                if attempt > newest:
                    by_step[told["step"]] = (attempt, list(told["ids"]))
                elif attempt == newest:
                    ids.extend(told["ids"])
        return [each for _, ids in by_step.values() for each in ids]


@contextlib.contextmanager
def training(lab: Lab, run_id: str) -> Iterator[Training]:
    """A run to be, of which nothing is left afterwards."""
    folder = lab.shared / run_id
    folder.mkdir()
    made = Training(lab, folder, run_id)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill_tree()
            process.wait(WITHIN_S)
