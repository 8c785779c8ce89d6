"""Commands to offer, as somebody standing in this folder would have to type them."""

from __future__ import annotations

import shlex
from pathlib import Path

from launcher.specs import RunLayout


def command(verb: str, layout: RunLayout) -> str:
    """Return `python -m launcher VERB run_id=...`, with the storage root where it is needed."""
    root = layout.path.parent.parent
    words = ["python", "-m", "launcher", verb, f"run_id={layout.run_id}"]
    if root != Path("outputs").absolute():
        words.append(f"storage.root={root}")
    return shlex.join(words)
