"""Whether this machine can run a lab; if not, the reason in one sentence."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from pathlib import Path

from tests.lab.commands import SYSTEM_PATH, LabError, command

PACKAGES = Path(__file__).with_name("packages.txt")
_COMMANDS = (
    "ip",
    "iptables",
    "nsenter",
    "ssh",
    "sshd",
    "ssh-keygen",
    "munged",
    "slurmctld",
    "slurmd",
    "sbatch",
)
_TRY_AN_OVERLAY = (
    "mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work /mnt/root && "
    "mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root"
)


@functools.cache
def why_not() -> str | None:
    """Return why this machine cannot run a lab, None if it can."""
    if sys.platform != "linux":
        return "hosts are Linux namespaces"
    if os.geteuid() != 0:
        return "making hosts needs root"
    missing = [name for name in _COMMANDS if shutil.which(name, path=SYSTEM_PATH) is None]
    if missing:
        return f"no {', '.join(missing)}: install the packages of tests/lab/packages.txt"
    return _why_no_namespaces()


def _why_no_namespaces() -> str | None:
    new = ("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork")
    try:
        command(*new, "--propagation", "private", "sh", "-c", _TRY_AN_OVERLAY)
    except LabError as error:
        return f"no namespaces or overlay mounts here: {str(error).strip().splitlines()[-1]}"
    return None
