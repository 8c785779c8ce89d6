"""The settings `model.*` and `data.*`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from launcher.errors import ConfigError

__all__ = ["DataConfig", "ModelConfig"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Source of the model. The ranks use it as `runtime.init().staged("model")`."""

    name: str = "none"
    """Name of the model: the choice of the group `model`."""
    source: str = ""
    """`pypi://name==version`, `hf://org/model`, `build:///abs/program.py`, a path, any fsspec URI.

    Empty: no model."""
    revision: str = ""
    """Commit, tag or version, if the source has one."""
    include: tuple[str, ...] = ()
    """Patterns of the files to stage (`*` crosses folders); empty means all."""
    strip: str = ""
    """Leading folder to remove from the paths of the files."""
    sha256: str = ""
    """Expected digest of the archive or single file."""
    options: dict[str, Any] = field(default_factory=dict)
    """For `build://`: options of the build program."""
    needs: tuple[str, ...] = ()
    """For `build://`: names of the items that the build program reads, such as `data`."""

    def __post_init__(self) -> None:
        check_sha256("model.sha256", self.sha256)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Source of the data. The ranks use it as `runtime.init().staged("data")`."""

    name: str = "none"
    """Name of the data: the choice of the group `data`."""
    source: str = ""
    """`build:///abs/program.py`, `hf://datasets/org/name`, a path or any fsspec URI.

    Empty if `train` and `test` are set."""
    revision: str = ""
    """Commit or tag of `source`, if it has one."""
    include: tuple[str, ...] = ()
    """Patterns of the files of `source` to stage; empty means all."""
    sha256: str = ""
    """Expected digest of `source`, if it is a single file."""
    train: str = ""
    """File with the training examples: .jsonl, .json, .csv or .parquet."""
    test: str = ""
    """File with the examples for the evaluation."""
    text: str = "text"
    """Column of the text."""
    label: str = "label"
    """Column of the label."""
    builder: str = ""
    """Program that builds the data set of the recipe from the staged files; empty: none."""
    options: dict[str, Any] = field(default_factory=dict)
    """More options of the build program."""

    def __post_init__(self) -> None:
        check_sha256("data.sha256", self.sha256)
        if self.source and (self.train or self.test):
            raise ConfigError(
                "`data.source` cannot be combined with `data.train` and `data.test`",
                hint="use `data=uri data.source=...` or `data=jsonl data.train=... data.test=...`",
            )


def check_sha256(key: str, digest: str) -> None:
    """Check that `digest` is empty or has the form of a sha256."""
    ok = len(digest) == 64 and not digest.lower().strip("0123456789abcdef")
    if digest and not ok:
        raise ConfigError(
            f"`{key}={digest}` is not a sha256: expected 64 hex digits",
            hint="`sha256sum FILE` prints it",
        )
