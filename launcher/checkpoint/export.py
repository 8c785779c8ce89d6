"""Export: the weights of a checkpoint in the format of Hugging Face `from_pretrained`.

Needs no torch. Bytes are checked while they are read.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.checkpoint import plain
from launcher.checkpoint.blocks import DamagedError, Segment, read_file
from launcher.checkpoint.commits import list_commits, newest_commit, of_step
from launcher.checkpoint.files import Files, PosixFiles
from launcher.checkpoint.layout import ITEM_BYTES, CheckpointLayout, CommitKey, TensorEntry
from launcher.checkpoint.shards import encode_header
from launcher.checkpoint.verification import Opened, finding, open_commit
from launcher.errors import CheckpointError, ConfigError, UnknownNameError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Raw = npt.NDArray[np.uint8]

FORMATS = ("hf",)
CONFIG_SCALAR = "hf_config"
"""If `TrainingState.scalars` has a mapping of this name, it becomes the exported `config.json`."""

_MODEL = "model/"
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".index.json", ".onnx")


def export(
    directory: Path,
    step: int | None,
    destination: Path,
    format: str = "hf",  # noqa: A002 - the word of the command line
    *,
    template: Path | None = None,
) -> Path:
    """Write the model of a commit to a new folder, completely or not at all.

    Args:
        directory: the checkpoint folder.
        step: which commit; None exports the newest.
        destination: the folder to create.
        format: `hf` for `model.safetensors` with a config and a tokenizer.
        template: a model folder whose config and tokenizer files are copied, such as the staged
            model.

    Raises:
        UnknownNameError: the step or format does not exist.
        ConfigError: the destination exists.
        CheckpointError: there is no commit, or it is damaged.
    """
    if format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    target = Path(destination)
    if target.exists():
        raise ConfigError(f"{target} already exists", hint="name a folder that does not exist yet")
    files, layout = PosixFiles(), CheckpointLayout(Path(directory))
    key = _choose(files, layout, step)
    try:
        opened = open_commit(files, layout, key)
        tensors = _read_model(files, opened)
    except DamagedError as error:
        raise CheckpointError(
            f"the checkpoint of step {key.step} is damaged",
            context=str(finding(key, error)),
            hint="export another step; `checkpoints ls` shows them",
        ) from error
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        _write_weights(partial / "model.safetensors", tensors, key)
        _copy_companions(partial, template, opened.record.logical)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _choose(files: Files, layout: CheckpointLayout, step: int | None) -> CommitKey:
    commits = list_commits(layout.path, files=files)
    if step is not None:
        return of_step(commits, str(step))[0].key
    chosen = newest_commit(commits)
    if chosen is None:
        raise CheckpointError(
            "there is no checkpoint to export", context=str(layout.path), hint="check the run id"
        )
    return chosen.key


def _read_model(files: Files, opened: Opened) -> dict[str, tuple[TensorEntry, Raw]]:
    """Return name -> (an entry with type and shape, its bytes with one element per row)."""
    import numpy as np  # noqa: PLC0415 - keeps `checkpoints ls` quick

    tensors: dict[str, tuple[TensorEntry, Raw]] = {}
    segments: dict[str, list[Segment]] = defaultdict(list)
    pieces: list[tuple[TensorEntry, Raw]] = []
    for entry in opened.tensors:
        if not entry.name.startswith(_MODEL):
            continue
        width = ITEM_BYTES[entry.dtype]
        name = entry.name.removeprefix(_MODEL)
        if name not in tensors:
            tensors[name] = entry, np.empty((*entry.shape, width), dtype=np.uint8)
        piece = np.empty((*entry.lengths, width), dtype=np.uint8)
        pieces.append((entry, piece))
        segments[entry.file].append(Segment(entry.offset, piece.reshape(-1).data))
    for file, wanted in segments.items():
        read_file(files, opened.folder / file, opened.files[file], wanted)
    for entry, piece in pieces:
        pairs = zip(entry.offsets, entry.lengths, strict=True)
        box = tuple(slice(start, start + length) for start, length in pairs)
        tensors[entry.name.removeprefix(_MODEL)][1][box] = piece
    return tensors


def _write_weights(
    path: Path, tensors: Mapping[str, tuple[TensorEntry, Raw]], key: CommitKey
) -> None:
    ordered = sorted(tensors.items(), key=lambda item: (-ITEM_BYTES[item[1][0].dtype], item[0]))
    sizes = [math.prod(entry.shape) * ITEM_BYTES[entry.dtype] for _, (entry, _) in ordered]
    ends = list(accumulate(sizes, initial=0))
    header = encode_header(
        [
            (name, entry.dtype, entry.shape, (ends[index], ends[index + 1]))
            for index, (name, (entry, _)) in enumerate(ordered)
        ],
        {"format": "pt", "step": str(key.step)},
    )
    with path.open("wb") as out:
        out.write(header)
        for _, (_, content) in ordered:
            out.write(content.reshape(-1).data)
        out.flush()
        os.fsync(out.fileno())


def _copy_companions(folder: Path, template: Path | None, logical: Mapping[str, Any]) -> None:
    if template is not None:
        for source in sorted(Path(template).iterdir()):
            skip = source.name.startswith(".") or source.name.endswith(_WEIGHTS)
            if source.is_file() and not skip:
                shutil.copyfile(source, folder / source.name)
    config = plain.decode(logical["scalars"]).get(CONFIG_SCALAR)
    if isinstance(config, dict):
        text = json.dumps(config, indent=2, sort_keys=True) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")
