"""A source of another package is a choice of `cluster=` without any change of ours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from launcher import config
from launcher.errors import UnknownNameError
from launcher.nodes import candidates, choose
from tests.nodes_request import nodes_request

SOURCE = """
from launcher.nodes import Candidate, Candidates, Source
from launcher.specs import Node

ROW = Source(name="pbs", candidates="pbs_source:candidates", transport="ssh", knows_cores=False)


def candidates(request, machine, environ):
    names = environ["PBS_NODES"].split()
    hosts = (
        Candidate(node=Node(node_rank=rank, name=name, address=name, slots=1))
        for rank, name in enumerate(names)
    )
    return Candidates(source="pbs", hosts=tuple(hosts))
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an installed package that adds `cluster=pbs`."""
    folder = tmp_path / "site"
    info = folder / "pbs_source-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pbs-source\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[launcher.sources]\npbs = pbs_source:ROW\n")
    (folder / "pbs_source.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "pbs_source", raising=False)
    return folder


def load(cwd: Path, *overrides: str) -> config.LaunchConfig:
    (cwd / "train.py").write_text("pass\n")
    return config.load(("recipe=script", "script=train.py", *overrides), cwd=cwd)


@pytest.mark.usefixtures("package")
def test_its_name_is_enough(tmp_path: Path) -> None:
    assert load(tmp_path, "cluster=pbs", "cluster.port=7").cluster.name == "pbs"
    assert load(tmp_path).cluster.name == "local"


def test_a_yaml_file_that_it_ships_is_read(package: Path, tmp_path: Path) -> None:
    (package / "conf" / "cluster").mkdir(parents=True)
    (package / "conf" / "cluster" / "pbs.yaml").write_text("name: pbs\nmin_nodes: 3\n")
    assert load(tmp_path, "cluster=pbs").cluster.min_nodes == 3


@pytest.mark.usefixtures("package")
def test_a_typo_in_its_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown cluster `psb`"):
        load(tmp_path, "cluster=psb")


@pytest.mark.usefixtures("package")
def test_its_run_can_be_loaded_again(tmp_path: Path) -> None:
    saved = tmp_path / "config.yaml"
    saved.write_text(config.dump(load(tmp_path, "cluster=pbs")))
    assert config.load_saved(saved).cluster.name == "pbs"
    assert config.load_saved(saved, ("cluster=local",)).cluster.name == "local"


@pytest.mark.usefixtures("package")
def test_its_hosts_become_the_nodes() -> None:
    request = nodes_request("pbs")
    offered = candidates(request, environ={"PBS_NODES": "a b"})
    assert [node.name for node in choose(offered, None, request).nodes] == ["a", "b"]
