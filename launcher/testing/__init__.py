"""Contract suites: what every source, engine, transport and fetcher must do, as tests to inherit.

A package that adds one subclasses the suite in a test module of its own and sets the attributes
that the suite asks for; pytest then runs the inherited tests. `docs/extending.md` has examples, and
our own implementations run the same suites. pytest must be installed. The idea is fsspec's, which
ships its tests of file systems in the same way.
"""

import pytest

# Without this, a failed assertion of a suite shows no values.
pytest.register_assert_rewrite(
    *(f"launcher.testing.{name}" for name in ("engines", "fetchers", "sources", "transports"))
)

from launcher.testing.engines import EngineContract  # noqa: E402 - after the registration
from launcher.testing.fetchers import FILES, SECRET, FetcherCase, FetcherContract  # noqa: E402
from launcher.testing.sources import SourceContract  # noqa: E402
from launcher.testing.transports import TransportContract  # noqa: E402

__all__ = [
    "FILES",
    "SECRET",
    "EngineContract",
    "FetcherCase",
    "FetcherContract",
    "SourceContract",
    "TransportContract",
]
