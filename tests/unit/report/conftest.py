"""Run folders made by hand."""

from tests.unit.runs.conftest import folder

__all__ = ["folder"]
