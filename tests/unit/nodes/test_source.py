"""What every source has in common."""

import sys
from types import SimpleNamespace

import pytest

from launcher.errors import ConfigError
from launcher.nodes import SOURCES, candidates
from launcher.nodes.source import Source
from tests.nodes_request import nodes_request

KEYS = {
    "hostfile": "hosts.txt",
    "hosts": ("a",),
    "include": ("a",),
    "exclude": ("a",),
    "head": "a",
    "spares": ("a",),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("source", ["local", "sim"])
def test_a_key_that_the_source_would_not_read_is_refused(source: str, key: str) -> None:
    request = nodes_request(source, **{key: KEYS[key]})  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match=f"cluster={source} does not read cluster.{key}"
    ) as caught:
        candidates(request)
    assert "use cluster=hostfile" in caught.value.hint


@pytest.mark.parametrize("key", ["hostfile", "hosts"])
def test_slurm_has_its_own_hosts(key: str) -> None:
    request = nodes_request("slurm", **{key: KEYS[key]})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"cluster=slurm does not read cluster.{key}"):
        candidates(request)


def test_a_source_that_returns_something_else_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Source(name="wrong", candidates=f"{__name__}:names", transport="ssh")
    monkeypatch.setattr(SOURCES, "built_in", {"wrong": wrong})
    monkeypatch.setitem(sys.modules, __name__, SimpleNamespace(names=lambda *_: ["n1"]))
    with pytest.raises(ConfigError, match=r"cluster=wrong: `.*:names` returned \['n1'\]"):
        candidates(nodes_request("wrong"))
