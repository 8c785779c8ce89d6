"""Submits a batch job to Slurm."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from launcher import units
from launcher.errors import ConfigError, PreflightError
from launcher.files import replace
from launcher.runs.time_accounting import longest_save_s
from launcher.slurm.config import BatchRequest, SlurmConfig, options_of, render
from launcher.slurm.control import call, words
from launcher.slurm.jobs import JobRecord, note
from launcher.slurm.sbatch_errors import hint_for
from launcher.slurm.time_limit import EarlyWarning, limit_s, size
from launcher.specs import RunLayout

_CONFIG = "config.yaml"


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A job that Slurm has accepted."""

    run_id: str
    record: JobRecord
    script: Path


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What to submit, and the files that the job reads. Prints as what will happen."""

    layout: RunLayout
    folder: Path
    """Folder of these files, in the run folder."""
    script: str
    config: str
    """The resolved configuration. Later edits in `conf/` do not affect the pending job."""
    options: tuple[str, ...]
    array: str = ""

    @property
    def script_path(self) -> Path:
        return self.folder / "job.sbatch"

    @property
    def log(self) -> Path:
        """Path of the job's log, with Slurm's patterns for the job id."""
        return self.folder / ("slurm-%A_%a.log" if self.array else "slurm-%j.log")

    @property
    def argv(self) -> tuple[str, ...]:
        folder = str(self.folder).replace("%", "%%")
        return (
            *("sbatch", "--parsable", f"--output={folder}/{self.log.name}"),
            str(self.script_path),
        )

    def __str__(self) -> str:
        return (
            f"# {self.script_path}\n{self.script}\n# submitted with\n{units.shell_line(self.argv)}"
        )


def _next_folder(layout: RunLayout) -> Path:
    number = 1
    while (folder := layout.jobs / f"submitted-{number:04d}").exists():
        number += 1
    return folder


def early_warning(layout: RunLayout, options: SlurmConfig, *, grace_s: float) -> EarlyWarning:
    """Return when Slurm warns the job, from how long the saves of the run took so far."""
    save_s = longest_save_s(layout)
    return size(save_s=save_s, grace_s=grace_s, limit_s=limit_s(options.time))


def prepare(
    layout: RunLayout,
    *,
    options: SlurmConfig,
    nodes: int,
    signal_s: int,
    python: str,
    config: str,
) -> Submission:
    """Return what `submit` would do. Writes nothing.

    `config` is the resolved configuration as YAML, the only one that the job reads.

    Raises:
        ConfigError: Slurm could not write the log of the job to the run folder.
    """
    folder = _next_folder(layout)
    if "\\" in str(folder):
        raise ConfigError(
            f"Slurm does not accept a backslash in the path of a log: {folder}",
            hint="choose another folder: `storage.root=...`",
        )
    request = BatchRequest(
        name=layout.run_id,
        nodes=nodes,
        options=options,
        signal_s=signal_s,
        command=(python, "-m", "launcher", "run", "--config", str(folder / _CONFIG)),
    )
    return Submission(
        layout=layout,
        folder=folder,
        script=render(request),
        config=config,
        options=tuple(options_of(request)),
        array=options.array,
    )


def require_accepted(submission: Submission, environ: Mapping[str, str] = os.environ) -> None:
    """Ask Slurm whether it would accept the job, before anything is staged. Writes nothing.

    Raises:
        PreflightError: Slurm is not installed here, does not answer, or refuses the job.
    """
    done = call(
        ("sbatch", "--test-only", *submission.argv[1:-1]),
        environ=without_overrides(environ, submission.options),
        text=submission.script,
    )
    message = words(done)
    if done.returncode != 0 and not any(each in message.lower() for each in _NOT_CERTAIN):
        raise _refused(message)


_NOT_CERTAIN = ("requested node configuration is not available", "socket timed out")
"""Answers to a test that do not mean that Slurm refuses the job. If nodes are down or drained, for
example, a job waits for them, but the test fails."""


def _refused(message: str) -> PreflightError:
    return PreflightError("Slurm refuses the job", context=message, hint=hint_for(message))


@contextlib.contextmanager
def all_or_nothing(layout: RunLayout) -> Iterator[None]:
    """Delete the new run folder if the body fails."""
    folders = (layout.path, layout.jobs)
    new = next((folder for folder in folders if not folder.exists()), None)
    try:
        yield
    except BaseException:
        if new is not None:
            shutil.rmtree(new, ignore_errors=True)
        raise


def submit(submission: Submission, environ: Mapping[str, str] = os.environ) -> Submitted:
    """Write the script and its configuration, and submit the job.

    Raises:
        PreflightError: Slurm refuses the job; the files are deleted.
    """
    try:
        submission.folder.mkdir(parents=True)
    except FileExistsError:
        raise PreflightError(
            f"another process is submitting run `{submission.layout.run_id}`",
            hint="check with `status`, then repeat the command",
        ) from None
    try:
        replace(submission.folder / _CONFIG, submission.config)
        replace(submission.script_path, submission.script)
        record = _sbatch(submission, environ)
    except BaseException:
        shutil.rmtree(submission.folder, ignore_errors=True)
        raise
    if not submission.layout.config.exists():  # lets `status` and `stop` find the run
        replace(submission.layout.config, submission.config)
    note(submission.layout, record)
    return Submitted(run_id=submission.layout.run_id, record=record, script=submission.script_path)


def _sbatch(submission: Submission, environ: Mapping[str, str]) -> JobRecord:
    done = call(submission.argv, environ=without_overrides(environ, submission.options))
    job_id, _, cluster = done.stdout.strip().partition(";")
    if done.returncode != 0 or not job_id.isdecimal():
        raise _refused(words(done))
    log = str(submission.log).replace("%j", job_id)
    return JobRecord(
        cluster=cluster,
        job_id=job_id,
        array=submission.array,
        log=log.replace("%A", job_id),
    )


def without_overrides(environ: Mapping[str, str], options: tuple[str, ...]) -> dict[str, str]:
    """Return `environ` without the variables that would override one of `options`."""
    names = {option.partition("=")[0] for option in options}
    dropped = {variable for name, variable in _OVERRIDES.items() if name in names}
    return {name: value for name, value in environ.items() if name not in dropped}


_OVERRIDES: Mapping[str, str] = MappingProxyType(
    {
        "--account": "SBATCH_ACCOUNT",
        "--array": "SBATCH_ARRAY_INX",
        "--constraint": "SBATCH_CONSTRAINT",
        "--gres": "SBATCH_GRES",
        "--job-name": "SBATCH_JOB_NAME",
        "--mem": "SBATCH_MEM_PER_NODE",
        "--no-requeue": "SBATCH_REQUEUE",
        "--open-mode": "SBATCH_OPEN_MODE",
        "--partition": "SBATCH_PARTITION",
        "--qos": "SBATCH_QOS",
        "--requeue": "SBATCH_NO_REQUEUE",
        "--reservation": "SBATCH_RESERVATION",
        "--signal": "SBATCH_SIGNAL",
        "--time": "SBATCH_TIMELIMIT",
    }
)
"""For sbatch, a variable overrides a line of the script."""
