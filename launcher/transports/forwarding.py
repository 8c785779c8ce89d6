"""Which of our environment variables go along to another machine."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.specs.secrets import names_a_secret

__all__ = ["forwarded"]

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
