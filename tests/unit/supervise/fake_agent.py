"""An agent and its one rank in one small process, which behaves as its arguments say.

fake_agent.py RANK BEHAVIOUR[,BEHAVIOUR...]: one behaviour per attempt, the last one stays.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from launcher.specs import RankException, RankRecord, RankState, RunLayout, to_json

RANK = int(sys.argv[1])
ATTEMPT = int(os.environ["LAUNCHER_ATTEMPT"])
RUN = RunLayout(Path(os.environ["LAUNCHER_RUN_DIR"]))
FOLDER = RUN.attempt(ATTEMPT)
NODE = int(os.environ["LAUNCHER_NODE_RANK"])


class Rank:
    def __init__(self) -> None:
        now = time.time()
        self.stop = False
        self.record = RankRecord(
            rank=RANK,
            local_rank=0,
            node_rank=NODE,
            node=f"local{NODE}",
            host=os.uname().nodename,
            pid=os.getpid(),
            attempt=ATTEMPT,
            state=RankState.RUNNING,
            started_at=now,
            heartbeat_at=now,
            progress_at=now,
            phase="train",
            total_steps=100,
        )
        log = FOLDER.rank_log(NODE, RANK).open("a")
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        faulthandler.register(signal.SIGUSR2)
        signal.signal(signal.SIGTERM, self._on_stop)
        self.tell()

    def _on_stop(self, *_: object) -> None:
        self.stop = True

    def tell(self, **changes: object) -> None:
        self.record = replace(self.record, heartbeat_at=time.time(), **changes)  # type: ignore[arg-type]
        path = FOLDER.rank_record(RANK)
        beside = path.with_name(f".{path.name}")
        beside.write_text(to_json(self.record))
        beside.replace(path)

    def step(self, seconds: float = 0.02) -> None:
        time.sleep(seconds)
        step = self.record.step + 1
        self.tell(step=step, progress_at=time.time(), loss=1.0 / step)
        print(f"step {step}", flush=True)
        if RANK == 0:
            line = {"step": step, "loss": 1.0 / step, "at": time.time(), "step_time_s": seconds}
            with FOLDER.metrics.open("a") as file:
                file.write(json.dumps(line) + "\n")


def done(rank: Rank) -> int:
    for _ in range(3):
        rank.step()
    if RANK == 0:
        FOLDER.result.write_text(json.dumps({"accuracy": 0.5}))
    rank.tell(state=RankState.DONE, exit_code=0)
    return 0


def error(rank: Rank, kind: str = "ValueError", message: str = "boom") -> int:
    rank.step()
    trace = f'Traceback (most recent call last):\n  File "t.py", line 1\n{kind}: {message}\n'
    failed = RankException(at=time.time(), kind=kind, message=message, traceback=trace)
    rank.tell(state=RankState.FAILED, exception=failed, exit_code=1)
    return 1


def commit_then(rank: Rank, then: str) -> int:
    rank.step()
    (RUN.checkpoints / f"commit-{ATTEMPT}-{rank.record.step}").write_text("")
    rank.tell(committed_step=rank.record.step)
    return behave(rank, then)


def killed(rank: Rank) -> int:
    """The agent writes the exit record of a rank that SIGKILL ended."""
    rank.step()
    rank.tell(state=RankState.FAILED, signal=9)
    return 137


def agent_dies(rank: Rank) -> int:
    rank.step()
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def train_until_stopped(rank: Rank) -> int:
    while not rank.stop:
        rank.step()
    (RUN.checkpoints / f"commit-{ATTEMPT}-{rank.record.step}").write_text("")
    rank.tell(state=RankState.SAVED, exit_code=0, committed_step=rank.record.step)
    return 0


def peer(rank: Rank) -> int:
    """A rank that cannot continue without the others: it notices when it is asked to exit."""
    while not rank.stop:
        rank.step()
    return error(
        rank, "RuntimeError", f"[gloo] Connection closed by peer [127.0.0.1]:{30000 + RANK}"
    )


def save_slowly(rank: Rank) -> int:
    while not rank.stop:
        rank.step()
    time.sleep(0.5)
    return train_until_stopped(rank)


def unaware(rank: Rank) -> int:
    """A script that never asks: the signal ends it."""
    while not rank.stop:
        rank.step()
    rank.tell(state=RankState.FAILED, exit_code=143, signal=15)
    return 143


def deaf(rank: Rank) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    while True:
        rank.step()


def save_fails(rank: Rank) -> int:
    while not rank.stop:
        rank.step()
    return error(rank, "OSError", "[Errno 28] No space left on device")


def stuck_in_the_loader(rank: Rank) -> None:
    while True:
        time.sleep(0.1)
        rank.tell()


def hang(rank: Rank) -> int:
    for _ in range(5):
        rank.step()
    stuck_in_the_loader(rank)
    return 0


def late(rank: Rank) -> int:
    """A rank that continues while it is asked for its stack."""
    for _ in range(5):
        rank.step()
    asked = []
    signal.signal(signal.SIGUSR2, lambda *_: asked.append(1))
    while not asked:
        time.sleep(0.05)
        rank.tell()
    return done(rank)


def silent(rank: Rank) -> int:
    """A script that reports no steps."""
    rank.tell(phase="start")
    until = time.time() + 1.5
    while time.time() < until:
        time.sleep(0.1)
        rank.tell()
    rank.tell(state=RankState.DONE)
    return 0


def no_record(rank: Rank) -> int:
    FOLDER.rank_record(RANK).unlink()
    return 0


def prints(rank: Rank, lines: str, then: str) -> int:
    """Much output right before the end, without a newline; a grandchild prints even later."""
    chatty = "import itertools\nfor n in itertools.count(): print('grandchild', n, flush=True)"
    rank.step()
    sys.stdout.write("".join(f"line {n}\n" for n in range(int(lines))) + "result")
    sys.stdout.flush()
    if then == "killed":
        rank.tell(state=RankState.FAILED, signal=9)
        return 137
    rank.tell(state=RankState.DONE, exit_code=0)
    subprocess.Popen([sys.executable, "-c", chatty], start_new_session=True)
    time.sleep(0.3)
    return 0


def behave(rank: Rank, text: str) -> int:
    name, *arguments = text.split(":")
    return int(globals()[name](rank, *arguments))


if __name__ == "__main__":
    behaviours = sys.argv[2].split(",")
    sys.exit(behave(Rank(), behaviours[min(ATTEMPT, len(behaviours)) - 1]))
