"""What git knows about a folder. Only reads, and takes no locks: a commit may be running."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import ConfigError

_TIMEOUT_S = 60.0
_OPTIONS = (
    # The ranks run this code anyway, and in a container it often has another owner.
    *("-c", "safe.directory=*"),
    # A file system monitor would outlive the command.
    *("-c", "core.fsmonitor=false"),
)
_OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
"""In a git hook, these name the checkout of the hook."""


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """The files of one checkout, relative to it."""

    sources: tuple[str, ...]
    """Tracked files, and untracked ones that are not ignored. An inner checkout is one name."""
    ignored: tuple[str, ...]
    """Files that git ignores. A folder that is ignored as a whole is one name."""
    commit: str
    dirty: bool


def top_of(folder: Path) -> Path | None:
    """Return the top of the checkout around `folder`; None without git or a checkout."""
    output = _run(folder, "rev-parse", "--show-toplevel")
    return Path(os.fsdecode(output.removesuffix(b"\n"))) if output else None


def checkout(folder: Path) -> Checkout:
    """Return the files and the commit of the checkout at `folder`."""
    commands: Mapping[str, tuple[str, ...]] = {
        "sources": ("ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        "ignored": (
            *("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"),
        ),
        "commit": ("rev-parse", "--verify", "--quiet", "HEAD"),
        "status": ("status", "--porcelain", "-z"),
    }
    with ThreadPoolExecutor(len(commands)) as pool:
        running = {name: pool.submit(_run, folder, *words) for name, words in commands.items()}
        output = {name: each.result() for name, each in running.items()}
    return Checkout(
        sources=_names(output["sources"]),
        ignored=_names(output["ignored"]),
        commit=(output["commit"] or b"").decode("ascii").strip(),
        dirty=bool(output["status"]),
    )


def _names(output: bytes | None) -> tuple[str, ...]:
    # In a merge conflict, git lists a file once for each side.
    parts = dict.fromkeys((output or b"").split(b"\0"))
    return tuple(os.fsdecode(part.rstrip(b"/")) for part in parts if part)


def _run(folder: Path, *words: str) -> bytes | None:
    env = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    env |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", *_OPTIONS, "-C", str(folder), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except OSError:  # git is not installed, or no access to the folder
        return None
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"git needs more than {_TIMEOUT_S:g} s to list `{folder}`",
            hint=f"try `git -C {folder} status`; code=shared runs without a code snapshot",
        ) from error
    return done.stdout if done.returncode == 0 else None
