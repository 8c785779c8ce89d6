"""The contract of transports over all of ours."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from launcher.specs import Node
from launcher.testing import TransportContract
from launcher.transports import TRANSPORTS
from tests.contract.loopback import LoopbackSshd, why_not

pytestmark = pytest.mark.process


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackSshd]:
    if reason := why_not():
        pytest.skip(reason)
    with LoopbackSshd(tmp_path_factory.mktemp("sshd"), ["loop"]) as server:
        yield server


class TestLocal(TransportContract):
    transport = "local"


@pytest.mark.extras
class TestSsh(TransportContract):
    transport = "ssh"

    @pytest.fixture
    def node(self, sshd: LoopbackSshd, monkeypatch: pytest.MonkeyPatch) -> Node:
        monkeypatch.setenv("PATH", f"{sshd.bin}:{os.environ['PATH']}")
        return Node(node_rank=3, name="looping", address="127.0.0.1", ssh="loop", slots=1)


@pytest.mark.skipif(
    "SLURM_JOB_ID" not in os.environ, reason="needs a job of Slurm; tests/cluster runs it in one"
)
class TestSrun(TransportContract):
    transport = "srun"

    @pytest.fixture
    def node(self) -> Node:
        name = os.environ["SLURMD_NODENAME"]
        return Node(node_rank=3, name=name, address="127.0.0.1", slots=1)


def test_every_built_in_transport_has_a_suite() -> None:
    suites = (TestLocal, TestSsh, TestSrun)
    assert {suite.transport for suite in suites} == set(TRANSPORTS.built_in)
