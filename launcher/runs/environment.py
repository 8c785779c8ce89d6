"""The environment of a run: versions, host, git commit and the difference from it."""

from __future__ import annotations

import dataclasses
import getpass
import importlib.metadata
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.files import replace
from launcher.runs.records import read_object
from launcher.specs import CodeSnapshot, RunLayout
from launcher.specs.secrets import hide, mask

PACKAGES = ("hydra-torch-launcher", "torch", "transformers", "datasets", "numpy", "safetensors")
"""Their versions are read from metadata: importing them would take seconds."""
VARIABLES = ("CUDA_", "NCCL_", "GLOO_", "OMP_", "MKL_", "TORCH_", "PYTORCH_", "HF_", "SLURM_")
"""Prefixes of the variables that change what a run does."""
_OWN = ("host",)
"""Facts that differ between nodes by nature."""
_GIT_S = 2.0
_DIFF_BYTES = 256 * 1024
_UNTRACKED = 200


def write(
    layout: RunLayout,
    *,
    code: CodeSnapshot | None = None,
    nodes: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write `environment.json`.

    It describes the project of `code`, or the current folder. `nodes` has the facts of each node by
    name; the file also lists the differences between nodes. The git state belongs to the moment
    when a code snapshot was taken, so it is kept from then.
    """
    before = read_object(layout.environment)
    facts = describe(Path(code.project) if code else Path.cwd())
    if code is not None:
        facts["code"] = {**dataclasses.asdict(code)}
        if before.get("code", {}).get("digest") == code.digest:
            facts["git"] = before.get("git", {})
    facts["nodes"], facts["differences"] = dict(nodes or {}), _differences(nodes or {})
    replace(layout.environment, json.dumps(facts, indent=2))


def _differences(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the facts that are not the same on all nodes: fact -> node -> value."""
    flat = {name: _flat(facts) for name, facts in nodes.items()}
    names = dict.fromkeys(key for facts in flat.values() for key in facts if key not in _OWN)
    by_name = {key: {name: facts.get(key, "") for name, facts in flat.items()} for key in names}
    return {
        key: values for key, values in by_name.items() if len(set(map(str, values.values()))) > 1
    }


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in facts.items() if key != "packages"}
    return {**own, **facts.get("packages", {})}


def describe(folder: Path, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the facts about this process, its host and the git repository of `folder`."""
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
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    chosen = {name: value for name, value in environ.items() if name.startswith(VARIABLES)}
    return mask(dict(sorted(chosen.items())))


def _git_state(folder: Path) -> dict[str, Any]:
    """Return commit, branch, diff and untracked files; empty outside of a repository.

    The commands run in parallel and have a time limit, so that git cannot delay the start.
    """
    commands = {
        "commit": ("rev-parse", "HEAD"),
        "branch": ("rev-parse", "--abbrev-ref", "HEAD"),
        "diff": ("diff", "HEAD", "--no-color", "--no-ext-diff"),
        "untracked": ("ls-files", "--others", "--exclude-standard"),
    }
    running = {name: _git(folder, arguments) for name, arguments in commands.items()}
    deadline = time.monotonic() + _GIT_S
    outputs = {
        name: _output(process, deadline - time.monotonic()) for name, process in running.items()
    }
    if not outputs["commit"]:
        return {}
    untracked = (outputs["untracked"] or "").splitlines()
    diff = outputs["diff"] or ""
    return {
        "commit": outputs["commit"].strip(),
        "branch": (outputs["branch"] or "").strip(),
        "dirty": bool(diff or untracked),
        "diff": hide(diff, os.environ)[:_DIFF_BYTES],
        "diff_is_whole": outputs["diff"] is not None and len(diff) <= _DIFF_BYTES,
        "untracked": untracked[:_UNTRACKED],
    }


def _git(folder: Path, arguments: tuple[str, ...]) -> subprocess.Popen[bytes] | None:
    # Without locks: the start of a run must not disturb a commit that the user makes meanwhile.
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
    """Return the name of the user who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in containers a user id may have no name
        return str(os.getuid())
