"""Reads words as a shell reads them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest


def typed_in_bash(words: str) -> list[str]:
    """Return the arguments that a program gets from a line of bash."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not there")
    show = [sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"]
    line = f'"$1" "$2" "$3" {words}'
    done = subprocess.run(
        ["bash", "-c", line, "bash", *show], capture_output=True, text=True, check=True, timeout=60
    )
    found: list[str] = json.loads(done.stdout)
    return found
