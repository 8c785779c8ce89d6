"""What git knows about a folder. Reads only, and takes no locks: a commit may go on meanwhile."""

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
    # The ranks run what lies there anyway; and in a container the owner is often somebody else.
    *("-c", "safe.directory=*"),
    # A monitor would outlive the command.
    *("-c", "core.fsmonitor=false"),
)
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
"""In a hook they name the checkout that the hook belongs to."""


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """The names in one checkout, relative to it."""

    sources: tuple[str, ...]
    """Tracked files, and untracked ones that are not ignored; a checkout inside is one name."""
    ignored: tuple[str, ...]
    """What git ignores; a folder that is ignored as a whole is one name."""
    commit: str
    dirty: bool


def top_of(folder: Path) -> Path | None:
    """Return the top folder of the checkout around `folder`, None without git or a checkout."""
    found = _run(folder, "rev-parse", "--show-toplevel")
    return Path(os.fsdecode(found.removesuffix(b"\n"))) if found else None


def checkout(folder: Path) -> Checkout:
    """Return what there is in the checkout at `folder`."""
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
        found = {name: each.result() for name, each in running.items()}
    return Checkout(
        sources=_names(found["sources"]),
        ignored=_names(found["ignored"]),
        commit=(found["commit"] or b"").decode("ascii").strip(),
        dirty=bool(found["status"]),
    )


def _names(output: bytes | None) -> tuple[str, ...]:
    # A conflict lists a file once for each side.
    parts = dict.fromkeys((output or b"").split(b"\0"))
    return tuple(os.fsdecode(part.rstrip(b"/")) for part in parts if part)


def _run(folder: Path, *words: str) -> bytes | None:
    env = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
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
    except OSError:  # no git, or a folder that cannot be entered
        return None
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"git takes more than {_TIMEOUT_S:g} s to list `{folder}`",
            hint=f"try `git -C {folder} status`; code=shared runs without a copy of the code",
        ) from error
    return done.stdout if done.returncode == 0 else None
