"""What the configuration says about model and data: the pieces of the tree that staging owns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from launcher.errors import ConfigError

__all__ = ["DataConfig", "ModelConfig"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Where the model comes from; the ranks find it as `runtime.init().staged("model")`."""

    name: str = "none"
    """What people call it; the choice of the group `model`."""
    source: str = ""
    """`pypi://name==version`, `hf://org/model`, `build:///abs/program.py`, a path, any fsspec URI.

    Empty: no model."""
    revision: str = ""
    """Commit, tag or version, where the source has one."""
    include: tuple[str, ...] = ()
    """Patterns of the files wanted (`*` crosses folders); empty means all."""
    strip: str = ""
    """Leading folder that is cut from the files' paths."""
    sha256: str = ""
    """Digest that the transferred archive or single file must have."""
    options: dict[str, Any] = field(default_factory=dict)
    """For `build://`: what the build program is told."""
    needs: tuple[str, ...] = ()
    """For `build://`: names of the items that the program reads, such as `data`."""

    def __post_init__(self) -> None:
        check_sha256("model.sha256", self.sha256)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the data comes from; the ranks find it as `runtime.init().staged("data")`."""

    name: str = "none"
    """What people call it; the choice of the group `data`."""
    source: str = ""
    """`build:///abs/program.py`, `hf://datasets/org/name`, a path or any fsspec URI.

    Empty when `train` and `test` say where the data is."""
    revision: str = ""
    """Commit or tag of `source`, where it has one."""
    include: tuple[str, ...] = ()
    """Patterns of the files of `source` that are wanted; empty means all."""
    sha256: str = ""
    """Digest that `source` must have when it is a single file."""
    train: str = ""
    """File with the training examples: .jsonl, .json, .csv or .parquet."""
    test: str = ""
    """File with the examples that the model is measured on."""
    text: str = "text"
    """Column that holds the text."""
    label: str = "label"
    """Column that holds the label."""
    builder: str = ""
    """Program that makes of what was staged the data set that the recipe reads; empty: none."""
    options: dict[str, Any] = field(default_factory=dict)
    """What the build program is told besides."""

    def __post_init__(self) -> None:
        check_sha256("data.sha256", self.sha256)
        if self.source and (self.train or self.test):
            raise ConfigError(
                "`data.source` and `data.train`/`data.test` both say where the data is",
                hint="give `data=uri data.source=...` or `data=jsonl data.train=... data.test=...`",
            )


def check_sha256(key: str, digest: str) -> None:
    """Refuse what cannot be a sha256."""
    ok = len(digest) == 64 and not digest.lower().strip("0123456789abcdef")
    if digest and not ok:
        raise ConfigError(
            f"`{key}={digest}` is no sha256: that has 64 hex digits",
            hint="`sha256sum FILE` prints it",
        )
