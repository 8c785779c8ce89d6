"""Calling Slurm's commands, and what they say of a job."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import PreflightError

_PATIENCE_S = 120.0
"""Slurm's commands wait for a busy controller, and give up by themselves before this."""

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
"""States that a job does not leave by itself."""
WAITING = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
"""States in which none of its processes runs."""


@dataclass(frozen=True, kw_only=True)
class JobInfo:
    """One job or array task as Slurm sees it now."""

    job_id: str
    """`123`, `120_5`; `120_0-9` for the tasks of an array that have not started."""
    state: str
    """In Slurm's word: `PENDING`, `RUNNING`, `COMPLETED` ..."""
    reason: str = ""
    """Why it is in that state, in Slurm's word: `Priority`, `Resources`; empty for None."""
    nodes: str = ""
    """`node[1-4]`; empty while it has none."""
    starts: str = ""
    """When it starts or started, as far as Slurm knows."""
    exit_code: int = 0
    """Of the batch script, which is the launcher's."""
    restarts: int = 0

    @property
    def task(self) -> str:
        """Its number in an array, or the numbers of those that wait; empty outside of one."""
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
        again = f", started again {self.restarts} times" if self.restarts > 1 else ""
        again = ", started again" if self.restarts == 1 else again
        return f"job {self.job_id}: {self.state}{reason}{where}{again}"


def look(job_id: str) -> tuple[JobInfo, ...]:
    """Return what Slurm knows of a job, one value per started task of an array.

    Empty when it has forgotten the job, as it does some minutes after the end.

    Raises:
        PreflightError: Slurm does not answer, or is not here.
    """
    done = call(["scontrol", "show", "job", "--oneliner", job_id])
    if done.returncode != 0:
        if "Invalid job id" in done.stderr + done.stdout:
            return ()
        raise PreflightError(
            f"Slurm does not tell how job {job_id} is",
            context=words(done),
            hint="`squeue --me` shows whether Slurm answers at all",
        )
    return parse_jobs(done.stdout)


def parse_jobs(text: str) -> tuple[JobInfo, ...]:
    """Read what `scontrol show job --oneliner` prints."""
    return tuple(_parse_job(line) for line in text.splitlines() if line.startswith("JobId="))


def cancel(job_id: str) -> None:
    """End a job, or take it out of the queue; `120_0-9` are tasks that wait.

    Raises:
        PreflightError: Slurm refuses.
    """
    array, _, tasks = job_id.partition("_")
    done = call(["scancel", f"{array}_[{tasks.partition('%')[0]}]" if tasks else job_id])
    if done.returncode != 0:
        raise PreflightError(
            f"Slurm does not cancel job {job_id}",
            context=words(done),
            hint=f"try `scancel {job_id}` by hand; only its owner may",
        )


def call(
    argv: Sequence[str], *, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's commands to its end.

    Raises:
        PreflightError: it is not installed here, or hangs.
    """
    env = {**(os.environ if environ is None else environ), "LC_ALL": "C"}
    try:
        return subprocess.run(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
        )
    except FileNotFoundError:
        raise PreflightError(
            f"there is no `{argv[0]}` on this machine",
            hint="type the command where Slurm's commands are: on a login node of the cluster; "
            "without Slurm take cluster=hostfile or cluster=local",
        ) from None
    except subprocess.TimeoutExpired:
        raise PreflightError(
            f"`{argv[0]}` did not answer within {_PATIENCE_S:g} s",
            hint="Slurm's controller may be down: ask `scontrol ping`",
        ) from None


def words(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command of Slurm's said when it failed."""
    return (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").strip()


def _parse_job(line: str) -> JobInfo:
    # The name comes early and is free text: the fields that count stand behind the user's.
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
    found = re.search(rf"(?:^| ){name}=(\S*)", text)
    return found.group(1) if found else ""


# Looking at a job until it is over.
EVERY_S = 2.0
"""Between two looks; every one is work for the controller of the whole cluster."""
_SILENT_S = 600.0
"""A controller that is being restarted does not answer for a while, and the job goes on."""


def follow(
    job_id: str,
    *,
    ask: Callable[[str], tuple[JobInfo, ...]] = look,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[JobInfo]:
    """Yield how the job is, again and again, until it is over; the last value is its end.

    Ends without a last value when Slurm has forgotten the job.

    Raises:
        PreflightError: Slurm has not answered for ten minutes.
    """
    silent = 0.0
    while True:
        try:
            found = ask(job_id)
        except PreflightError:
            silent += EVERY_S
            if silent > _SILENT_S:
                raise
            sleep(EVERY_S)
            continue
        silent = 0.0
        if not found:
            return
        yield found[0]
        if found[0].over:
            return
        sleep(EVERY_S)
