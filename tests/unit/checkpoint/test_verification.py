"""Checking checkpoints without loading them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.checkpoint import list_commits, verify
from launcher.errors import UnknownNameError


def test_whole_checkpoints_have_no_findings(folder: Path, saved: Callable[..., Any]) -> None:
    saved(3)
    assert verify(folder) == []
    assert verify(folder, 2) == []


def test_a_finding_names_step_file_and_block(folder: Path, saved: Callable[..., Any]) -> None:
    saved(2)
    data = list_commits(folder)[0].data
    assert data is not None
    shard = data / "s000.safetensors"
    content = bytearray(shard.read_bytes())
    content[700] ^= 16
    shard.write_bytes(content)
    (finding,) = verify(folder)
    assert (finding.generation, finding.step, finding.block) == (1, 1, 0)
    assert finding.file == f"data/{data.name}/s000.safetensors"
    assert str(finding).startswith("step 1 (generation 1): data/")
    assert "does not match its digest" in str(finding)
    assert verify(folder, 2) == []


def test_a_missing_shard_and_a_torn_record_are_findings(
    folder: Path, saved: Callable[..., Any]
) -> None:
    saved(2)
    first, second = list_commits(folder)
    assert first.data is not None
    (first.data / "s000.safetensors").unlink()
    second.path.write_text("{}")
    problems = {finding.step: finding.problem for finding in verify(folder)}
    assert problems[1] == "the file is missing"
    assert "checksum" in problems[2]


def test_an_unknown_step_is_said_with_those_there_are(
    folder: Path, saved: Callable[..., Any]
) -> None:
    saved(2)
    with pytest.raises(UnknownNameError) as caught:
        verify(folder, 9)
    assert "1, 2" in caught.value.hint


@pytest.mark.process
def test_listing_and_verifying_load_no_torch(folder: Path, saved: Callable[..., Any]) -> None:
    saved(1)
    code = (
        "import sys; from pathlib import Path; from launcher import checkpoint as c; "
        f"f = Path({str(folder)!r}); assert len(c.list_commits(f)) == 1 and c.verify(f) == []; "
        "assert not {'torch', 'numpy'} & set(sys.modules), 'heavy imports'"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
