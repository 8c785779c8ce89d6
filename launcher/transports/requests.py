"""What goes to a node agent, and how its answers are read.

An agent gets its own program, then one request with a job for each node. A job is a command to
run or a question. The environment of the launcher goes along only as far as `forwarded` allows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.specs import Command
from launcher.specs.secrets import names_a_secret
from launcher.transports import remote
from launcher.transports.calls import CallResult, Limits
from launcher.transports.channel import last_line
from launcher.transports.transport import Answer

__all__ = [
    "LOGIN_WITHIN_S",
    "OF_PYTHON",
    "START_WITHIN_S",
    "agent_argv",
    "agent_input",
    "command_job",
    "command_settings",
    "forwarded",
    "limits",
    "no_answer",
    "question_settings",
    "read_answer",
]

START_WITHIN_S = 60.0
"""From the first try to a running command: there may be many logins, and storage may be slow."""
LOGIN_WITHIN_S = 30.0
"""Until a node agent says hello, on top of the time for a question."""
OF_PYTHON = (
    "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONWARNINGS", "PYTHONEXECUTABLE",
    "PYTHONPLATLIBDIR", "PYTHONOPTIMIZE", "PYTHONSAFEPATH", "PYTHONNOUSERSITE", "PYTHONUTF8",
    "PYTHONIOENCODING", "PYTHONHASHSEED", "PYTHONMALLOC", "PYTHONDEVMODE", "PYTHONCASEOK",
)  # fmt: skip
"""A login does not choose these for the interpreter that this machine names: all ranks get the
values of this machine, or none."""
_ALL_READY_WITHIN_S = 600.0
"""A node waits no longer for the others, in case we are gone without a word."""
_AGENT = remote.source("node_agent").encode()
_LEASE_OVERTIME_S = 10.0
"""An agent gives up later than we do, so it never ends a node that we still count on."""
_GRACE_S = 30.0
"""If the command's environment sets none."""

_FORWARDED = frozenset(
    (
        # These belong to the interpreter, which is at the same path on every node.
        "LD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX",
        # How to reach other networks, and which certificates to trust.
        "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
        "http_proxy", "https_proxy", "all_proxy", "no_proxy",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    )
)  # fmt: skip
_FORWARDED_PREFIXES = (
    "LAUNCHER_", "PYTHON",
    # Collectives and the networks below them.
    "NCCL_", "GLOO_", "UCX_", "UCC_", "FI_", "RDMAV_", "MLX5_",
    "HOROVOD_", "OMPI_MCA_", "PRTE_MCA_", "PMIX_MCA_",
    # Computing.
    "TORCH", "PYTORCH_", "TRITON_", "XLA_", "CUDA_", "CUDNN_", "CUBLAS_", "NVIDIA_",
    "ROCM_", "HIP_", "HSA_", "MIOPEN_",
    "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMEXPR_",
    # Models, data, and experiment tracking.
    "HF_", "HUGGINGFACE_", "TRANSFORMERS_", "TOKENIZERS_", "ACCELERATE_",
    "AWS_", "S3_", "FSSPEC_", "GOOGLE_", "GCS_", "AZURE_",
    "WANDB_", "MLFLOW_", "NEPTUNE_", "COMET_", "CLEARML_",
)  # fmt: skip
_KEPT_PREFIXES = ("SSH_", "XDG_", "SLURM_", "DBUS_")
_KEPT_SUFFIXES = ("_VISIBLE_DEVICES",)
"""The plan decides which GPUs of a node are used, not the shell of another machine."""


def agent_argv(python: str) -> tuple[str, ...]:
    """Return the command line of a node agent.

    Python runs isolated (-I, -S), so neither a `json.py` in the home folder, a `PYTHONHOME` of the
    login nor a broken site-packages can keep the agent from starting. With UTF-8 mode, arguments
    arrive unchanged whatever locale the login sets.
    """
    return (python, "-I", "-S", "-X", "utf8", "-c", remote.agent_bootstrap(_AGENT))


def agent_input(
    name: str, settings: Mapping[str, Any], jobs: Mapping[str, Mapping[str, Any]]
) -> bytes:
    """Return what a node agent reads first: its program, then its request.

    With an empty `name` the agent finds out by itself which of the nodes it is on.
    """
    request = {"name": name, "common": settings, "jobs": jobs}
    return _AGENT + f"{json.dumps(request)}\n".encode()


def command_settings(*, without: Sequence[str] = (), lost_after_s: float) -> dict[str, Any]:
    """Return the part of a job that is the same for the commands of all nodes.

    A node removes those of its own variables that begin with one of `without`.
    """
    lease_s = lost_after_s + _LEASE_OVERTIME_S
    return {"without": without, "umask": _umask(), "lease_s": lease_s}


def command_job(command: Command, log: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """Return the job to run `command`; its own variables override those of `env`."""
    return {
        "argv": command.argv,
        "cwd": command.cwd,
        "env": {**env, **command.env},
        "log": str(log),
        "grace_s": float(command.env.get("LAUNCHER_GRACE_S", _GRACE_S)),
    }


def question_settings(
    source: str,
    timeout_s: float,
    ready_within_s: float | None,
    *,
    env: Mapping[str, str],
    without: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the part of a job that is the same for a question to all nodes."""
    return {
        "source": source,
        "bootstrap": remote.bootstrap(source.encode()),
        "timeout_s": timeout_s,
        "ready_within_s": ready_within_s,
        "all_ready_within_s": _ALL_READY_WITHIN_S,
        "env": env,
        "without": without,
        "umask": _umask(),
    }


def limits(
    settings: Mapping[str, Any], *, overtime_s: float, hello_s: float = LOGIN_WITHIN_S
) -> Limits:
    """Return the limits of a question; `overtime_s` lets agents say that they gave it up."""
    return Limits(
        hello_s=hello_s,
        ready_s=(settings["ready_within_s"] or 0.0) + overtime_s,
        answer_s=settings["timeout_s"] + overtime_s,
    )


def read_answer(node_rank: int, call: CallResult, name: str, settings: Mapping[str, Any]) -> Answer:
    """Return the answer in the last message of the node `name`."""
    message, seconds = call.replies[name]
    if "stdout" not in message:
        return Answer(node_rank=node_rank, problem=no_answer(settings))
    try:
        value = json.loads(message["stdout"])
        if message["code"] == 0 and isinstance(value, dict):
            return Answer(
                node_rank=node_rank,
                value=value,
                login_s=call.hello_s or 0.0,
                asked_at=call.asked_at,
                seconds=seconds,
            )
    except ValueError:
        pass
    printed = message["stdout"][:100]
    why = last_line(message["stderr"]) or f"expected a JSON object, it printed {printed!r}"
    return Answer(node_rank=node_rank, problem=f"exit code {message['code']}: {why}")


def no_answer(settings: Mapping[str, Any]) -> str:
    """Return the problem of a node that does not answer in time, in one line."""
    seconds = settings["timeout_s"] + (settings["ready_within_s"] or 0.0)
    return f"no answer within {seconds:g} s"


def _umask() -> int:
    """Return the umask of this process; `os.umask` would change it for other threads."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("Umask:"))[6:], 8)


def forwarded(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of `environ` that ranks on another machine need as well.

    The rest describes this machine and this session: search paths, the home folder, the terminal.
    """
    return {name: value for name, value in environ.items() if _is_forwarded(name)}


def _is_forwarded(name: str) -> bool:
    if name.startswith(_KEPT_PREFIXES) or name.endswith(_KEPT_SUFFIXES):
        return False
    return name in _FORWARDED or name.startswith(_FORWARDED_PREFIXES) or names_a_secret(name)
