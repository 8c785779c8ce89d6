"""Replacing a file as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.files import replace


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path, durable: bool) -> None:
    replace(tmp_path / "x", b"1", durable=durable)
    replace(tmp_path / "x", "2", durable=durable)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"2"


def test_a_file_name_that_is_not_utf_8_keeps_its_bytes(tmp_path: Path) -> None:
    replace(tmp_path / "x", "name: ü/\udce9")
    assert (tmp_path / "x").read_bytes() == "name: ü/".encode() + b"\xe9"


def test_a_replacement_that_fails_keeps_the_file_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(tmp_path / "x", "old")

    def fail(path: Path, target: Path) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("launcher.files.rename", fail)
    with pytest.raises(OSError, match="no space"):
        replace(tmp_path / "x", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "old"
