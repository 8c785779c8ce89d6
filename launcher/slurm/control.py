"""Calls Slurm's commands, and reads the state of a job from their output."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import PreflightError

_TIMEOUT_S = 120.0
"""Longer than Slurm's own timeout for a busy controller."""

OVER = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    }
)
"""States of a job that has ended."""
WAITING = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
"""States of a job that does not run yet."""
EVERY_S = 2.0
"""Interval of `follow`. Each query is work for the controller of the whole cluster."""
_SILENT_S = 600.0
"""A controller does not answer while it restarts; the job continues."""


@dataclass(frozen=True, kw_only=True)
class JobInfo:
    """The state of one job or array task."""

    job_id: str
    """`123`, `120_5`; `120_0-9` for the tasks of an array that have not started."""
    state: str
    """Slurm's word: `PENDING`, `RUNNING`, `COMPLETED` ..."""
    reason: str = ""
    """Slurm's word for the reason: `Priority`, `Resources`; empty for None."""
    nodes: str = ""
    """`node[1-4]`; empty if it has none yet."""
    starts: str = ""
    """When it started or is expected to start; empty if unknown."""
    exit_code: int = 0
    """Of the batch script, and so of the launcher."""
    restarts: int = 0

    @property
    def task(self) -> str:
        """Its number in an array, or those of the pending tasks; empty outside of an array."""
        return self.job_id.partition("_")[2]

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def waiting(self) -> bool:
        return self.state in WAITING

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        where = f" on {self.nodes}" if self.nodes and not self.over else ""
        again = f", requeued {self.restarts} times" if self.restarts > 1 else ""
        again = ", requeued" if self.restarts == 1 else again
        return f"job {self.job_id}: {self.state}{reason}{where}{again}"


def look(job_id: str) -> tuple[JobInfo, ...]:
    """Return the state of a job, or of each started task of an array.

    Empty if Slurm no longer knows the job: it forgets one some minutes after its end.

    Raises:
        PreflightError: Slurm does not answer, or is not installed here.
    """
    done = call(["scontrol", "show", "job", "--oneliner", job_id])
    if done.returncode != 0:
        if "Invalid job id" in done.stderr + done.stdout:
            return ()
        raise PreflightError(
            f"cannot get the state of job {job_id} from Slurm",
            context=words(done),
            hint="check with `squeue --me` whether Slurm answers",
        )
    return parse_jobs(done.stdout)


def parse_jobs(text: str) -> tuple[JobInfo, ...]:
    """Parse the output of `scontrol show job --oneliner`."""
    return tuple(_parse_job(line) for line in text.splitlines() if line.startswith("JobId="))


def cancel(job_id: str) -> None:
    """Cancel a job; `120_0-9` are pending tasks.

    Raises:
        PreflightError: Slurm refuses.
    """
    array, _, tasks = job_id.partition("_")
    done = call(["scancel", f"{array}_[{tasks.partition('%')[0]}]" if tasks else job_id])
    if done.returncode != 0:
        raise PreflightError(
            f"Slurm refuses to cancel job {job_id}",
            context=words(done),
            hint=f"try `scancel {job_id}`; only its owner may cancel a job",
        )


def call(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    text: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's commands, which reads `text`, and wait for its end.

    Raises:
        PreflightError: it is not installed here, or hangs.
    """
    env = {**(os.environ if environ is None else environ), "LC_ALL": "C"}
    try:
        return subprocess.run(
            argv,
            cwd=cwd,
            env=env,
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise PreflightError(
            f"`{argv[0]}` is not installed on this machine",
            hint="run the command on a login node of the cluster, or use cluster=hostfile or "
            "cluster=local",
        ) from None
    except subprocess.TimeoutExpired:
        raise PreflightError(
            f"`{argv[0]}` did not answer within {_TIMEOUT_S:g} s",
            hint="Slurm's controller may be down: check with `scontrol ping`",
        ) from None


def words(done: subprocess.CompletedProcess[str]) -> str:
    """Return the error message of a command of Slurm."""
    return (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").strip()


def _parse_job(line: str) -> JobInfo:
    # The job's name is free text, and comes before UserId; these fields come after it.
    head, _, tail = line.partition(" UserId=")
    array, task = _field(head, "ArrayJobId"), _field(head, "ArrayTaskId")
    reason, nodes, starts = (_field(tail, name) for name in ("Reason", "NodeList", "StartTime"))
    code = _field(tail, "ExitCode").partition(":")[0]
    restarts = _field(tail, "Restarts")
    return JobInfo(
        job_id=f"{array}_{task}" if array and task else _field(head, "JobId"),
        state=_field(tail, "JobState"),
        reason="" if reason == "None" else reason,
        nodes="" if nodes == "(null)" else nodes,
        starts="" if starts in ("Unknown", "N/A") else starts,
        exit_code=int(code) if code.isdecimal() else 0,
        restarts=int(restarts) if restarts.isdecimal() else 0,
    )


def _field(text: str, name: str) -> str:
    match = re.search(rf"(?:^| ){name}=(\S*)", text)
    return match.group(1) if match else ""


def follow(
    job_id: str,
    *,
    ask: Callable[[str], tuple[JobInfo, ...]] = look,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[JobInfo]:
    """Yield the state of a job until it has ended; the last value is its end.

    Stops without a last value if Slurm no longer knows the job.

    Raises:
        PreflightError: Slurm has not answered for ten minutes.
    """
    silent = 0.0
    while True:
        try:
            jobs = ask(job_id)
        except PreflightError:
            silent += EVERY_S
            if silent > _SILENT_S:
                raise
            sleep(EVERY_S)
            continue
        silent = 0.0
        if not jobs:
            return
        yield jobs[0]
        if jobs[0].over:
            return
        sleep(EVERY_S)
