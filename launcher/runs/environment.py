"""What a run was made with: versions, host, git commit and everything that differs from it."""

from __future__ import annotations

import dataclasses
import getpass
import importlib.metadata
import json
import os
import platform
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.files import replace
from launcher.runs.files import read_object
from launcher.specs import FrozenCode, RunLayout
from launcher.specs.secrets import mask, redact

PACKAGES = ("hydra-torch-launcher", "torch", "transformers", "datasets", "numpy", "safetensors")
"""Asked for by metadata: importing them would take seconds."""
VARIABLES = ("CUDA_", "NCCL_", "GLOO_", "OMP_", "MKL_", "TORCH_", "PYTORCH_", "HF_", "SLURM_")
"""Beginnings of the names of the variables that change what a run does."""
_SECRETS = re.compile(
    r"""(?x)
    (?P<name> \w*(?i:token|secret|password|passwd|api_?key|access_?key|credential)\w*
              ["']?\s*[=:]\s*)
    (?: "[^"\n]*" | '[^'\n]*' )
    | (?P<plain> \b[A-Z0-9_]*(?:TOKEN|SECRET|PASSWORD|PASSWD|KEY|CREDENTIALS)=) [^\s"']+
    | \b(?:hf_|ghp_|gho_|sk-|AKIA)[A-Za-z0-9_-]{12,}
    """,
)
_OWN = ("host",)
"""What every node has for itself."""
_GIT_S = 2.0
_DIFF_BYTES = 256 * 1024
_UNTRACKED = 200


def write(
    layout: RunLayout,
    *,
    code: FrozenCode | None = None,
    nodes: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write `environment.json`. The sources are those of `code`, or where the command was typed.

    `nodes` are what the nodes told of themselves, by name; what differs among them is listed too.
    What git says of frozen code was true when it was frozen: it is not asked again.
    """
    before = read_object(layout.environment)
    found = describe(Path(code.project) if code else Path.cwd())
    if code is not None:
        found["code"] = {**dataclasses.asdict(code)}
        if before.get("code", {}).get("digest") == code.digest:
            found["git"] = before.get("git", {})
    found["nodes"], found["differences"] = dict(nodes or {}), _differences(nodes or {})
    replace(layout.environment, json.dumps(found, indent=2))


def _differences(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what is not the same on all nodes: what -> node -> its value."""
    flat = {name: _flat(told) for name, told in nodes.items()}
    names = dict.fromkeys(key for told in flat.values() for key in told if key not in _OWN)
    by_name = {key: {name: told.get(key, "") for name, told in flat.items()} for key in names}
    return {
        key: values for key, values in by_name.items() if len(set(map(str, values.values()))) > 1
    }


def _flat(told: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in told.items() if key != "packages"}
    return {**own, **told.get("packages", {})}


def describe(folder: Path, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return what there is to know about this process, its host and the sources in `folder`."""
    return {
        "at": time.time(),
        "host": socket.gethostname(),
        "user": user_name(),
        "platform": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "executable": sys.executable,
        "packages": _versions(),
        "folder": str(folder),
        "variables": _variables(environ),
        "git": _git_state(folder),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    chosen = {name: value for name, value in environ.items() if name.startswith(VARIABLES)}
    return mask(dict(sorted(chosen.items())))


def _git_state(folder: Path) -> dict[str, Any]:
    """Return commit, branch, diff and untracked names; empty outside of a repository.

    The three commands run side by side: together they must not hold up the start.
    """
    commands = {
        "commit": ("rev-parse", "HEAD"),
        "branch": ("rev-parse", "--abbrev-ref", "HEAD"),
        "diff": ("diff", "HEAD", "--no-color", "--no-ext-diff"),
        "untracked": ("ls-files", "--others", "--exclude-standard"),
    }
    running = {name: _git(folder, arguments) for name, arguments in commands.items()}
    deadline = time.monotonic() + _GIT_S
    found = {
        name: _output(process, deadline - time.monotonic()) for name, process in running.items()
    }
    if not found["commit"]:
        return {}
    untracked = (found["untracked"] or "").splitlines()
    diff = found["diff"] or ""
    return {
        "commit": found["commit"].strip(),
        "branch": (found["branch"] or "").strip(),
        "dirty": bool(diff or untracked),
        "diff": hide_secrets(diff[:_DIFF_BYTES]),
        "diff_is_whole": found["diff"] is not None and len(diff) <= _DIFF_BYTES,
        "untracked": untracked[:_UNTRACKED],
    }


def hide_secrets(text: str) -> str:
    """Return a diff with what looks like a secret in it replaced by `***`."""

    def hidden(found: re.Match[str]) -> str:
        return f"{found['name'] or found['plain'] or ''}***"

    return redact(_SECRETS.sub(hidden, text))


def _git(folder: Path, arguments: tuple[str, ...]) -> subprocess.Popen[bytes] | None:
    # No locks: a run that starts must not get in the way of a commit that somebody makes.
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        return subprocess.Popen(
            ["git", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
        )
    except OSError:
        return None


def _output(process: subprocess.Popen[bytes] | None, timeout_s: float) -> str | None:
    if process is None:
        return None
    try:
        output, _ = process.communicate(timeout=max(0.0, timeout_s))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    return output.decode("utf-8", "replace") if process.returncode == 0 else None


def user_name() -> str:
    """Return who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return str(os.getuid())
