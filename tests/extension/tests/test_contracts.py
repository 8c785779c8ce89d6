"""The launcher's own suites over this package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from launcher.errors import ConfigError
from launcher.nodes import ClusterConfig, NodesRequest, candidates
from launcher.specs import StageItem
from launcher.testing import FILES, EngineContract, FetcherCase, FetcherContract, SourceContract


class TestPbs(SourceContract):
    source = "pbs"

    def environ(self, folder: Path) -> Mapping[str, str]:
        file = folder / "nodes"
        file.write_text("n1\nn1\nn2\nn2\nn3\nn4\n")
        return {"PBS_NODEFILE": str(file)}


class TestElastic(EngineContract):
    backend = "elastic"
    engine = "torch"


class TestShelf(FetcherContract):
    @pytest.fixture
    def case(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FetcherCase:
        for name, content in FILES.items():
            path = tmp_path / "shelf" / "bert" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        monkeypatch.setenv("SHELF", str(tmp_path / "shelf"))
        return FetcherCase(item=StageItem(name="model", uri="shelf://bert"), resumes=False)


def test_a_host_has_a_slot_for_each_of_its_lines(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("n1\nn1\nn2\n")
    request = NodesRequest(cluster=ClusterConfig(name="pbs"))
    found = candidates(request, environ={"PBS_NODEFILE": str(tmp_path / "nodes")})
    assert [host.slots for host in found.hosts] == [2, 1]


def test_outside_a_job_it_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="PBS_NODEFILE is not set"):
        candidates(NodesRequest(cluster=ClusterConfig(name="pbs")), environ={})
