"""A file system that takes nothing more is named as such, by every command, without a traceback."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.process]

RUN = ("recipe=script", "script=train.py", "device=cpu", "run_id=r", "nodes=1", "slots=1")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    argv = ("mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder))
    if os.geteuid() or subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("needs root, to mount a small file system")
    yield folder
    subprocess.run(("umount", "--lazy", str(folder)), check=True)


def fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def remount_read_only(folder: Path) -> None:
    subprocess.run(("mount", "-o", "remount,ro", str(folder)), check=True)


def make_loop(folder: Path) -> None:
    (folder / "runs").symlink_to("runs")


def make_file(folder: Path) -> None:
    (folder / "runs").write_text("")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (fill, "disk full"),
        (remount_read_only, "read-only"),
        (make_loop, "a link leads back to itself"),
        (make_file, "not a folder"),
    ],
)
def test_a_storage_that_takes_nothing_is_named_with_its_reason(
    person: Any, small: Path, spoil: Any, words: str
) -> None:
    (person.cwd / "train.py").write_text("pass")
    spoil(small)
    said = person.types(*RUN, f"storage.root={small}")
    assert said.returncode in (3, 4), said.stderr
    assert words in said.stderr
    assert "permission" not in said.stderr
    assert "Traceback" not in said.stderr
    assert "bug" not in said.stderr


def test_a_name_that_is_too_long_is_named(person: Any) -> None:
    (person.cwd / "train.py").write_text("pass")
    said = person.types(*RUN, f"storage.root={person.cwd}/{'x' * 300}")
    assert (said.returncode, "the name is too long" in said.stderr) == (2, True), said.stderr


def test_a_disk_that_is_full_during_the_run_ends_it_with_its_reason(
    person: Any, small: Path
) -> None:
    (person.cwd / "train.py").write_text(
        f"file = open({str(small / 'filler')!r}, 'wb', buffering=0)\n"
        "try:\n    while True: file.write(bytes(4096))\nexcept OSError: pass\n"
        "raise ValueError('label')\n"
    )
    said = person.types(*RUN, f"storage.root={small}", "preflight.min_free_gb=0", "code=shared")
    assert said.returncode == 5, said.stderr
    assert "this is a bug" not in said.stdout + said.stderr
    for words in (("status", "r"), ("why", "r"), ("logs", "r"), ("stop", "r")):
        asked = person.types(*words, f"storage.root={small}")
        assert asked.returncode == 0, asked.stderr
        assert "this is a bug" not in asked.stderr
    resumed = person.types("resume", "r", f"storage.root={small}")
    assert resumed.returncode in (3, 4, 5), resumed.stderr
    assert "disk full" in resumed.stdout + resumed.stderr
    assert "this is a bug" not in resumed.stdout + resumed.stderr
