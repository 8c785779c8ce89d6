"""Takes steps that do nothing but count, and checkpoints them: `count.py STEPS PAUSE_S [EVERY]`.

It goes on to its end while nobody stops it; a file `hurry` in the run folder ends the pauses.
"""

from __future__ import annotations

import sys
import time

import torch

from launcher import checkpoint, runtime


def main() -> None:
    steps, pause_s = int(sys.argv[1]), float(sys.argv[2])
    every = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    ctx = runtime.init()
    model = torch.nn.Linear(2, 2)
    state = checkpoint.TrainingState(model=model)
    saved = checkpoint.Checkpointer(
        ctx.run_dir / "checkpoints",
        group=ctx.engine,
        generation=ctx.attempt,
        on_commit=ctx.committed,
        timeout_s=20,
    )
    found = saved.restore(state)
    print(f"from step {found.step if found else 0}", flush=True)
    while state.step < steps:
        began = time.monotonic()
        if not (ctx.run_dir / "hurry").exists():
            time.sleep(pause_s)
        state.step += 1
        ctx.log_step(
            step=state.step,
            total_steps=steps,
            epoch=0.0,
            loss=1.0,
            lr=0.1,
            samples=1,
            step_time_s=time.monotonic() - began,
        )
        if ctx.should_stop():
            saved.save(state)
            saved.wait()
            ctx.leave_saved(state.step)
        if state.step % every == 0 or state.step == steps:
            saved.save(state)
    saved.close()
    ctx.finish({"steps": state.step})


main()
