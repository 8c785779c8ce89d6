from __future__ import annotations

import re
from pathlib import Path

import pytest

from launcher.transports import requests
from launcher.transports.requests import forwarded

DOCS = Path(__file__).parents[3] / "docs" / "ssh.md"


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN", "HF_HOME", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "WANDB_API_KEY",
        "OPENAI_API_KEY", "NCCL_DEBUG", "GLOO_SOCKET_IFNAME", "UCX_TLS", "FI_PROVIDER",
        "OMPI_MCA_btl", "HOROVOD_TIMELINE", "TORCH_LOGS", "TORCHINDUCTOR_CACHE_DIR",
        "PYTORCH_CUDA_ALLOC_CONF", "PYTHONPATH", "OMP_NUM_THREADS", "LD_LIBRARY_PATH",
        "CONDA_PREFIX", "https_proxy", "SSL_CERT_FILE", "LAUNCHER_STORAGE_ROOT", "CUDA_HOME",
    ],
)  # fmt: skip
def test_what_ranks_need_goes_along(name: str) -> None:
    assert forwarded({name: "x"}) == {name: "x"}


@pytest.mark.parametrize(
    "name",
    [
        "PATH", "HOME", "USER", "SHELL", "PWD", "TERM", "LANG", "DISPLAY", "TMPDIR", "HOSTNAME",
        "SSH_AUTH_SOCK", "SSH_CONNECTION", "XDG_RUNTIME_DIR", "SLURM_JOB_ID", "SLURM_PROCID",
        "OMPI_COMM_WORLD_RANK", "PMI_RANK", "RANK", "MASTER_ADDR", "CUDA_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "DBUS_SESSION_BUS_ADDRESS", "SSH_KEY",
        "MY_FLAG",
    ],
)  # fmt: skip
def test_what_belongs_to_this_machine_or_session_stays(name: str) -> None:
    assert forwarded({name: "x"}) == {}


def test_the_docs_list_exactly_what_is_forwarded() -> None:
    table = DOCS.read_text().partition("| forwarded | names |")[2].partition("\n\n")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and "secrets" not in line]
    names = {word for row in rows for word in re.findall(r"`([A-Za-z0-9_*]+)`", row)}
    names |= {name.lower() for name in names if name.endswith("_PROXY")}
    prefixes = {f"{prefix}*" for prefix in requests._FORWARDED_PREFIXES}
    assert names == set(requests._FORWARDED) | prefixes
