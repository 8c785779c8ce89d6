"""Names and values of a checkpoint folder: what lies where, and what each record holds.

::

    checkpoints/
      generations/000003.json                 GenerationRecord, claimed once per attempt
      data/000003-00001200-7f3a/
        s000.safetensors ...                  one per writing rank, tensors only
        r000.json ...                         ShardManifest of what that rank wrote
      commits/000003-00001200.json            CommitRecord: its presence makes the checkpoint exist

Nothing is ever overwritten. Every JSON file is sealed, see `launcher.checkpoint.checksummed`.
`docs/checkpoints.md` describes the format for people; a golden checkpoint in the tests pins it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = 1
"""Version of the format. A reader refuses a higher one and names it."""
BLOCK_BYTES = 16 * 2**20
"""Every so many bytes of a file have a digest; the header of the file counts as bytes of it."""
DIGEST = "xxh3_128"

ITEM_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
    "C64": 8,
}
"""Width of one element by the name that safetensors gives its type."""

_COMMIT_NAME = re.compile(r"(\d{6,})-(\d{8,})\.json")
_DATA_NAME = re.compile(r"(\d{6,})-(\d{8,})-[0-9a-f]+")
_GENERATION_NAME = re.compile(r"(\d{6,})\.json")


@dataclass(frozen=True, order=True)
class CommitKey:
    """Which commit: generations are ordered first, since a newer one fences the older off."""

    generation: int
    step: int

    def __str__(self) -> str:
        return f"{self.generation:06d}-{self.step:08d}"


@dataclass(frozen=True, kw_only=True)
class ShardFile:
    """One file that a rank wrote, with the digests by which every block of it is checked."""

    name: str
    size_bytes: int
    digests: tuple[str, ...]
    block_bytes: int = BLOCK_BYTES
    algorithm: str = DIGEST


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """One contiguous piece of a tensor, and where its bytes lie."""

    name: str
    """`model/...`, `optimizer/<parameter>/<key>`, `extra/...`, or `rng/<rank>/...` for state of one
    rank."""
    file: str
    offset: int
    """From the start of the file, in bytes."""
    dtype: str
    shape: tuple[int, ...]
    """Of the whole tensor."""
    offsets: tuple[int, ...]
    """Where the piece starts in the whole tensor, per dimension."""
    lengths: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.lengths) * ITEM_BYTES[self.dtype]

    @property
    def whole_bytes(self) -> int:
        """Size of the whole tensor, of which this may be a part."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True, kw_only=True)
class ShardManifest:
    """What one rank wrote for one checkpoint."""

    schema: int = SCHEMA
    generation: int
    step: int
    rank: int
    world_size: int
    files: tuple[ShardFile, ...]
    tensors: tuple[TensorEntry, ...]
    agreed: dict[str, str]
    """Digest of every part of the logical state as this rank saw it; equal on all ranks."""


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """A manifest as the commit pins it."""

    name: str
    size_bytes: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What the model looks like: a digest over names, shapes and element types."""

    digest: str
    tensors: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class CommitRecord:
    """The commit. Its presence under `commits/` is what makes a checkpoint exist."""

    schema: int = SCHEMA
    generation: int
    step: int
    data: str
    """Name of the folder under `data/`."""
    world_size: int
    engine: str
    created_at: float
    """Seconds since the epoch, for people; nothing is decided by it."""
    base: CommitKey | None
    """The commit that the attempt started from; null when it started at step 0."""
    size_bytes: int
    manifests: tuple[ManifestEntry, ...]
    signature: Signature
    logical: dict[str, Any]
    """Everything that is not a tensor, as `launcher.checkpoint.plain` encodes it."""
    logical_shards: int | None = None
    """Into how many parts every global batch of the run is cut; null: one for each rank."""

    @property
    def key(self) -> CommitKey:
        return CommitKey(self.generation, self.step)


@dataclass(frozen=True, kw_only=True)
class GenerationRecord:
    """An attempt's claim. Whoever holds the highest one may commit."""

    schema: int = SCHEMA
    generation: int
    token: str
    """Random; the names of this generation's data folders are derived from it."""
    base: CommitKey | None
    """Newest commit when the claim was made. Commits of older generations that come later do not
    count."""
    created_at: float
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckpointLayout:
    """Paths of a checkpoint folder. Nobody else joins these strings."""

    path: Path

    @property
    def generations(self) -> Path:
        return self.path / "generations"

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def commits(self) -> Path:
        return self.path / "commits"

    def generation(self, number: int) -> Path:
        return self.generations / f"{number:06d}.json"

    def commit(self, key: CommitKey) -> Path:
        return self.commits / f"{key}.json"

    def data_folder(self, name: str) -> Path:
        return self.data / name


def data_name(key: CommitKey, nonce: str) -> str:
    """Return the name of a save's folder under `data/`."""
    return f"{key}-{nonce}"


def shard_name(rank: int) -> str:
    """Return the name of the file of a rank's tensors."""
    return f"s{rank:03d}.safetensors"


def manifest_name(rank: int) -> str:
    """Return the name of the record of what a rank wrote."""
    return f"r{rank:03d}.json"


def failure_name(rank: int) -> str:
    """Name of the file by which a rank tells the others that its part could not be written."""
    return f"e{rank:03d}.json"


GIVEN_UP = "given-up.json"
"""Left by the coordinator in the data folder of a save that will never be committed."""


def commit_key(name: str) -> CommitKey | None:
    """Return the key that a file name under `commits/` stands for, None for any other file."""
    return _key(_COMMIT_NAME, name)


def data_key(name: str) -> CommitKey | None:
    """Return the key that a folder name under `data/` belongs to, None for any other name."""
    return _key(_DATA_NAME, name)


def generation_number(name: str) -> int | None:
    """Return the generation that a file name under `generations/` stands for."""
    match = _GENERATION_NAME.fullmatch(name)
    return int(match[1]) if match else None


def _key(pattern: re.Pattern[str], name: str) -> CommitKey | None:
    match = pattern.fullmatch(name)
    return CommitKey(int(match[1]), int(match[2])) if match else None
