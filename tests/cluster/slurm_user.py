"""Somebody at the login node of a Slurm cluster, and what becomes of their runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launcher.runs import events, read_status
from launcher.runs.events import AttemptEnded, AttemptStarted
from launcher.runs.status import RunStatus
from launcher.slurm.control import JobInfo, parse_jobs
from launcher.specs import RunLayout
from tests.lab import Lab
from tests.lab.commands import wait_until
from tests.lab.host import User

WITHIN_S = 300.0
"""For anything that has to happen: loaded machines take many times what it takes usually."""
REPOSITORY = Path(__file__).parents[2]
COUNT = str(REPOSITORY / "tests" / "cluster" / "programs" / "count.py")
TRAIN = str(REPOSITORY / "slurm" / "train.sbatch")


def job_of(said: str) -> str:
    """Return the id of the job that the launcher says it submitted."""
    line = next(line for line in said.splitlines() if line.startswith("job "))
    return line.split()[1].rstrip(",")


@dataclass
class SlurmUser:
    """Types commands on the head, in a folder of their own on the shared file system."""

    lab: Lab
    name: str
    user: User = "root"

    @property
    def cwd(self) -> str:
        """The folder as the hosts see it."""
        return f"/shared/{self.name}"

    @property
    def folder(self) -> Path:
        """The same from outside of the lab."""
        return self.lab.shared / self.name

    def run(
        self, *words: str, check: bool = True, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.lab.run(
            "head",
            words,
            env=env,
            cwd=self.cwd,
            user=self.user,
            timeout_s=WITHIN_S,
            check=check,
        )

    def launch(
        self, *words: str, check: bool = True, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Type `python -m launcher WORDS` and wait for its end."""
        return self.run(sys.executable, "-m", "launcher", *words, check=check, env=env)

    def submit(self, run_id: str, *words: str, steps: str = "1000,0.2", nodes: int = 1) -> str:
        """Have the launcher submit the counting program; return the id of the job."""
        said = self.launch(
            *("cluster=slurm", "recipe=script", f"script={COUNT}", f"args=[{steps}]"),
            *("device=cpu", f"run_id={run_id}", f"nodes={nodes}", *words),
        ).stdout
        return job_of(said)

    def sbatch(self, *words: str) -> str:
        """Submit a batch script; return the id of the job."""
        return self.run("sbatch", "--parsable", *words).stdout.strip()

    # --- what becomes of it

    def layout(self, run_id: str) -> RunLayout:
        return RunLayout.of(self.folder / "outputs", run_id)

    def status(self, run_id: str) -> RunStatus:
        return read_status(self.layout(run_id))

    def starts(self, run_id: str) -> list[AttemptStarted]:
        """Return how each attempt of the run started."""
        told = events.history(self.layout(run_id))
        return [each for each in told if isinstance(each, AttemptStarted)]

    def jobs(self, job_id: str) -> tuple[JobInfo, ...]:
        shown = self.run("scontrol", "show", "job", "--oneliner", job_id)
        return parse_jobs(shown.stdout)

    def job(self, job_id: str) -> JobInfo:
        return self.jobs(job_id)[0]

    def log(self, run_id: str) -> str:
        """Return what the launcher said in the run's jobs."""
        logs = sorted(self.layout(run_id).jobs.glob("submitted-*/*.log"))
        return "".join(path.read_text() for path in logs)

    def hurry(self, run_id: str) -> None:
        """Let the counting program come to its end."""
        (self.layout(run_id).path / "hurry").touch()

    def let_time_run_out(self, job_id: str, run_id: str) -> None:
        """Shorten a job's time so that Slurm warns it now, and lengthen it after the warning."""
        shown = self.run("squeue", "--noheader", "--jobs", job_id, "--format=%M").stdout
        minutes = shown.strip().split(":")[-2]
        self.run("scontrol", "update", f"JobId={job_id}", f"TimeLimit={int(minutes) + 2}")

        def has_ended() -> bool:
            history = events.history(self.layout(run_id))
            return any(isinstance(each, AttemptEnded) for each in history)

        self.until("the end of the first attempt", has_ended)
        self.run("scontrol", "update", f"JobId={job_id}", "TimeLimit=60")

    # --- waiting

    def until(self, what: str, is_so: Callable[[], bool]) -> None:
        wait_until(what, is_so, WITHIN_S)

    def until_training(self, run_id: str, *, attempt: int = 1, step: int = 2) -> None:
        """Wait until `attempt` of the run has taken steps."""

        def trains() -> bool:
            if not self.layout(run_id).path.exists():
                return False
            status = self.status(run_id)
            return status.attempt >= attempt and status.step >= step

        self.until(f"attempt {attempt} of {run_id} to take steps", trains)

    def until_over(self, job_id: str) -> JobInfo:
        """Wait for the end of a job that is not an array's."""
        self.until(f"the end of job {job_id}", lambda: self.job(job_id).over)
        return self.job(job_id)
