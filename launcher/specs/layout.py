"""Every path of a run folder. No other module joins these strings.

::

    <storage.root>/
      code/<digest>/                    code snapshots, see launcher.code_snapshot.store
      staged/<name>-<key>/              staged models and data
      runs/<run_id>/
        config.yaml                     the resolved config, masked
        plan.json                       the plan of the newest attempt
        environment.json                versions, git commit, and the changes since it
        code.json                       the code snapshot of the run
        staged.json                     name -> folder, written when staging is done
        stop.json                       a stop request
        supervisor.json                 its supervisor: host, process id, heartbeat
        attempts/0001/
          plan.json                     the plan of this attempt
          events.jsonl                  written by the supervisor only
          metrics.jsonl                 written by rank 0 only
          logs/node00.log               log of the node's agent
          logs/node00-rank0003.log      log of the rank
          ranks/0003.json               status of the rank, replaced as a whole
          letters/10.0.0.2              a launch request of mpirun for another host
          samples/0003.jsonl            ids of the samples that the rank used, if requested
          result.json                   what rank 0 of the program reported at its end
        checkpoints/                    see launcher.checkpoint.layout
        jobs/123.json                   a Slurm job of this run: pending, running or ended
        jobs/submitted-0001/            a submission: config.yaml, job.sbatch, its log
        metrics.jsonl result.json report.html   written at the end of every attempt
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AttemptLayout:
    """Paths of one attempt."""

    path: Path

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def launch_requests(self) -> Path:
        """Launch requests of mpirun, one file per host."""
        return self.path / "letters"

    @property
    def ranks(self) -> Path:
        return self.path / "ranks"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    def node_log(self, node_rank: int) -> Path:
        return self.logs / f"node{node_rank:02d}.log"

    def rank_log(self, node_rank: int, rank: int) -> Path:
        return self.logs / f"node{node_rank:02d}-rank{rank:04d}.log"

    def rank_record(self, rank: int) -> Path:
        return self.ranks / f"{rank:04d}.json"

    def rank_error(self, rank: int) -> Path:
        """What torch's `@record` writes: torchrun gives each rank such a file."""
        return self.ranks / f"error-{rank:04d}.json"

    def rank_samples(self, rank: int) -> Path:
        return self.samples / f"{rank:04d}.jsonl"


@dataclass(frozen=True)
class RunLayout:
    """Paths of one run."""

    path: Path

    @classmethod
    def of(cls, storage_root: str | Path, run_id: str) -> RunLayout:
        return cls(Path(storage_root) / "runs" / run_id)

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def code(self) -> Path:
        return self.path / "code.json"

    @property
    def staged(self) -> Path:
        return self.path / "staged.json"

    @property
    def stop(self) -> Path:
        return self.path / "stop.json"

    @property
    def supervisor(self) -> Path:
        return self.path / "supervisor.json"

    @property
    def attempts(self) -> Path:
        return self.path / "attempts"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def jobs(self) -> Path:
        return self.path / "jobs"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def attempt(self, number: int) -> AttemptLayout:
        return AttemptLayout(self.attempts / f"{number:04d}")
