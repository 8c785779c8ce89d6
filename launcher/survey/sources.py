"""The programs that run on the nodes, as text."""

from __future__ import annotations

import functools
from pathlib import Path


@functools.cache
def source(name: str) -> str:
    """Return the text of a probe of this room."""
    return Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
