"""The contract of sources over all of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from launcher.nodes import Candidates, candidates
from launcher.nodes.config import ClusterConfig
from launcher.nodes.source import SOURCES
from launcher.testing import SourceContract
from tests.nodes_request import nodes_request


class TestLocal(SourceContract):
    source = "local"


class TestSim(SourceContract):
    source = "sim"


class TestHostfile(SourceContract):
    source = "hostfile"

    def cluster(self, folder: Path) -> ClusterConfig:
        return ClusterConfig(name="hostfile", hosts=("gpu[1-4]",))


class TestSlurm(SourceContract):
    source = "slurm"

    def environ(self, folder: Path) -> Mapping[str, str]:
        return {"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "host[1-4]"}


def test_every_built_in_source_has_a_suite() -> None:
    suites = (TestLocal, TestSim, TestHostfile, TestSlurm)
    assert {suite.source for suite in suites} == set(SOURCES.built_in)


MANY: Mapping[str, Callable[[], Candidates]] = {
    "hostfile": lambda: candidates(nodes_request("hostfile", hosts=("n[0001-9999]",))),
    "slurm": lambda: candidates(
        nodes_request("slurm"),
        environ={"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n[0001-9999]"},
    ),
}


@pytest.mark.parametrize("source", MANY)
def test_ten_thousand_hosts_are_accepted(source: str) -> None:
    assert len(MANY[source]().hosts) == 9999
