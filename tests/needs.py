"""What some tests need besides `pip install -e '.[test]'`: they skip and say how to install it."""

from __future__ import annotations

import pytest

from launcher.engines import require
from launcher.errors import EngineMissingError


def missing(backend: str) -> str:
    """Return what a backend needs that is not installed, with the command; empty if nothing."""
    try:
        require(backend)
    except EngineMissingError as error:
        return f"{error.message}: {error.hint}"
    return ""


def need(backend: str) -> str:
    """Return `backend`, or skip the test that needs it."""
    if reason := missing(backend):
        pytest.skip(reason)
    return backend
