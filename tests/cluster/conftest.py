"""A cluster of real hosts for the tests of this folder, or a skip that says why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Lab, why_not

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    named = [config.invocation_params.dir / word.partition("::")[0] for word in config.args]
    asked = "cluster" in config.option.markexpr or any(each.is_relative_to(HERE) for each in named)
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.cluster)
            if not asked:
                item.add_marker(pytest.mark.skip("takes minutes: `pytest -m cluster` runs it"))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A head and four hosts, without Slurm."""
    yield from _lab_or_skip(slurm=False)


@pytest.fixture(scope="session")
def slurm_lab() -> Iterator[Lab]:
    """A head, which is also the login node, and four hosts under Slurm with 8 GPUs each."""
    yield from _lab_or_skip(slurm=True)


@pytest.fixture(autouse=True)
def hosts_are_mended(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test breaks, the next one finds healthy hosts."""
    yield
    for name in {"lab", "slurm_lab"} & set(request.fixturenames):
        request.getfixturevalue(name).repair()


def _lab_or_skip(*, slurm: bool) -> Iterator[Lab]:
    if reason := why_not():
        pytest.skip(reason)
    with Lab(hosts=4, slurm=slurm) as lab:
        yield lab
