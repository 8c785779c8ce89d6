"""`doctor` as a person meets it, on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.cli.main import main

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_sound_machine_is_told_to_be_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert told.endswith("this node is fine\n")
    assert "local0" in told


def test_what_is_wrong_is_said_with_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "preflight.min_free_gb=1e9"]) == 3
    told = capsys.readouterr().out
    assert "are free in storage.root" in told
    assert "--exclude=local0" in told


def test_programs_get_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json", "nodes=2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert found["bad_nodes"] == []
    assert list(found["nodes"]) == ["local0"]


def test_nodes_that_only_pretend_cannot_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "cluster=sim"]) == 2
    assert "cluster=sim" in capsys.readouterr().err
