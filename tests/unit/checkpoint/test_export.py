"""Checkpoints for others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from launcher import checkpoint
from launcher.checkpoint import Checkpointer, SingleProcess, export, list_commits
from launcher.errors import CheckpointError, ConfigError, UnknownNameError


def test_the_weights_are_those_that_were_saved(
    folder: Path, saved: Callable[..., Any], tmp_path: Path
) -> None:
    images = saved(2)
    found = load_file(export(folder, None, tmp_path / "out") / "model.safetensors")
    assert "head.weight" not in found, "a tied weight is stored under one name"
    for name, tensor in found.items():
        assert (str(tensor.dtype), tensor.tolist()) == images[2][name]


def test_a_step_can_be_named(folder: Path, saved: Callable[..., Any], tmp_path: Path) -> None:
    images = saved(2)
    found = load_file(export(folder, 1, tmp_path / "out") / "model.safetensors")
    assert found["norm.weight"].tolist() == images[1]["norm.weight"][1]


@pytest.mark.process
def test_pieces_written_by_several_ranks_are_put_together(
    folder: Path, training: Any, ranks: Any, tmp_path: Path
) -> None:
    ranks(3, _save_one, folder, training)
    found = load_file(export(folder, None, tmp_path / "out") / "model.safetensors")
    model = training().model.state_dict()
    assert found.keys() == model.keys() - {"head.weight"}
    assert all(torch.equal(found[name], model[name]) for name in found)


def _save_one(group: Any, folder: Path, training: Any) -> None:
    program = training()
    with Checkpointer(folder, group=group) as ck:
        program.state.step = 1
        ck.save(program.state)


def test_config_and_tokenizer_come_from_the_template_and_weights_do_not(
    folder: Path, saved: Callable[..., Any], tmp_path: Path
) -> None:
    saved(1)
    template = tmp_path / "template"
    template.mkdir()
    for name in ("config.json", "tokenizer.json", "vocab.txt"):
        (template / name).write_text(name)
    for name in ("pytorch_model.bin", "model.safetensors.index.json", ".launcher-manifest.json"):
        (template / name).write_text("old")
    out = export(folder, 1, tmp_path / "out", template=template)
    assert {path.name for path in out.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "vocab.txt",
    }


def test_hugging_face_reads_a_fine_tuned_model_back(folder: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        num_labels=7,
    )
    model = transformers.BertForSequenceClassification(config).eval()
    state = checkpoint.TrainingState(
        model=model, step=1, scalars={"hf_config": json.loads(config.to_json_string())}
    )
    with Checkpointer(folder, group=SingleProcess()) as ck:
        ck.save(state)
    out = export(folder, None, tmp_path / "out")
    loaded, report = transformers.AutoModelForSequenceClassification.from_pretrained(
        out, output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    ids = torch.tensor([[1, 2, 3, 4]])
    weights = loaded.state_dict()
    assert all(torch.equal(weights[name], item) for name, item in model.state_dict().items())
    torch.testing.assert_close(loaded.eval()(ids).logits, model(ids).logits)


def test_an_existing_folder_is_not_written_into(
    folder: Path, saved: Callable[..., Any], tmp_path: Path
) -> None:
    saved(1)
    with pytest.raises(ConfigError, match="already exists"):
        export(folder, None, tmp_path)


def test_an_unknown_format_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown format `onnx`"):
        export(folder, None, tmp_path / "out", "onnx")


def test_damage_is_an_error_and_leaves_nothing_behind(
    folder: Path, saved: Callable[..., Any], tmp_path: Path
) -> None:
    saved(1)
    data = list_commits(folder)[0].data
    assert data is not None
    content = bytearray((data / "s000.safetensors").read_bytes())
    content[-1] ^= 1
    (data / "s000.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="step 1 is damaged"):
        export(folder, None, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_nothing_to_export_is_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint to export"):
        export(folder, None, tmp_path / "out")
