"""What keepers are asked for, and what their answers to questions mean."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.specs import Command
from launcher.specs.secrets import names_a_secret
from launcher.transports import remote
from launcher.transports.transport import Answer

__all__ = [
    "START_WITHIN_S",
    "command_job",
    "common_job",
    "first_words",
    "keeper_words",
    "question",
    "read_answer",
]

_KEEPER = remote.source("node_agent").encode()
START_WITHIN_S = 60.0
"""From the first try to a running command: logins may come in crowds, and storage may be slow."""
_LEASE_OVERTIME_S = 10.0
"""A keeper gives up later than we do, so that a node which we still count on is never ended."""
_GRACE_S = 30.0
"""When the command's environment names none."""


def keeper_words(python: str) -> tuple[str, ...]:
    """Return the command line of a keeper.

    It runs isolated (-I, -S): neither a `json.py` in somebody's home folder nor a broken
    site-packages can keep it from starting.
    """
    return (python, "-I", "-S", "-c", remote.bootstrap(_KEEPER))


def first_words(
    name: str, common: Mapping[str, Any], jobs: Mapping[str, Mapping[str, Any]]
) -> bytes:
    """Return what a keeper reads first: itself, then its request.

    An empty `name` leaves it to the keeper to find out which of the nodes it is on.
    """
    request = {"name": name, "common": common, "jobs": jobs}
    return _KEEPER + f"{json.dumps(request)}\n".encode()


def common_job(*, without: Sequence[str] = (), lost_after_s: float) -> dict[str, Any]:
    """Return what all nodes are told: which of their own variables go, and how long they wait."""
    return {"without": without, "lease_s": lost_after_s + _LEASE_OVERTIME_S}


def command_job(command: Command, log: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """Return the request to start `command`; `env` lies below its own variables."""
    return {
        "argv": command.argv,
        "cwd": command.cwd,
        "env": {**env, **command.env},
        "log": str(log),
        "grace_s": float(command.env.get("LAUNCHER_GRACE_S", _GRACE_S)),
    }


def question(
    source: str, timeout_s: float, *, env: Mapping[str, str], without: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what all nodes are told that have to run `source`."""
    return {
        "source": source,
        "bootstrap": remote.bootstrap(source.encode()),
        "timeout_s": timeout_s,
        "env": env,
        "without": without,
    }


def read_answer(
    node_rank: int, message: Mapping[str, Any], *, timeout_s: float, seconds: float
) -> Answer:
    """Return what a node's last message says."""
    if "said" not in message:
        return Answer(node_rank=node_rank, problem=f"no answer within {timeout_s:g} s")
    try:
        value = json.loads(message["said"])
        if message["code"] == 0 and isinstance(value, dict):
            return Answer(node_rank=node_rank, value=value, seconds=seconds)
    except ValueError:
        pass
    words = message["complained"].strip().splitlines()
    last = words[-1] if words else f"what it printed is no JSON object: {message['said'][:100]!r}"
    return Answer(node_rank=node_rank, problem=f"exit code {message['code']}: {last}")


# Which of our environment variables go along to another machine.
_NAMES = frozenset(
    (
        # They belong to the interpreter, and that is at the same place everywhere.
        "LD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX",
        # The way out of a cluster, and whom to trust there.
        "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
        "http_proxy", "https_proxy", "all_proxy", "no_proxy",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    )
)  # fmt: skip
_PREFIXES = (
    "LAUNCHER_", "PYTHON",
    # Collectives and the networks below them.
    "NCCL_", "GLOO_", "UCX_", "UCC_", "FI_", "RDMAV_", "MLX5_",
    "HOROVOD_", "OMPI_MCA_", "PRTE_MCA_", "PMIX_MCA_",
    # Computing.
    "TORCH", "PYTORCH_", "TRITON_", "XLA_", "CUDA_", "CUDNN_", "CUBLAS_", "NVIDIA_",
    "ROCM_", "HIP_", "HSA_", "MIOPEN_",
    "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMEXPR_",
    # Models, data, and where runs are reported.
    "HF_", "HUGGINGFACE_", "TRANSFORMERS_", "TOKENIZERS_",
    "AWS_", "S3_", "FSSPEC_", "GOOGLE_", "GCS_", "AZURE_",
    "WANDB_", "MLFLOW_", "NEPTUNE_", "COMET_", "CLEARML_",
)  # fmt: skip
_PREFIXES_NOT = ("SSH_", "XDG_", "SLURM_", "DBUS_")
_ENDS_NOT = ("_VISIBLE_DEVICES",)
"""Which GPUs a node gives is decided by the plan, not by the shell of another machine."""


def forwarded(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of `environ` that ranks on another machine need as well.

    The rest describes this machine and this session: search paths, the home folder, the terminal.
    """
    return {name: value for name, value in environ.items() if _goes_along(name)}


def _goes_along(name: str) -> bool:
    if name.startswith(_PREFIXES_NOT) or name.endswith(_ENDS_NOT):
        return False
    return name in _NAMES or name.startswith(_PREFIXES) or names_a_secret(name)
