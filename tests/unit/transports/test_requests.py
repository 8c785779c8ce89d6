from __future__ import annotations

import pytest

from launcher.transports.requests import forwarded


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
