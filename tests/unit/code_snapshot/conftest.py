from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


class Checkout:
    """A git checkout to put files into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "-b", "trunk")

    def git(self, *words: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@y", "-c", "protocol.file.allow=always")
        subprocess.run(
            ["git", "-C", str(self.folder), *who, *words], check=True, capture_output=True
        )

    def write(self, name: str, text: str = "") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-m", "all")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "home" / "my-project")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "shared" / "outputs"
