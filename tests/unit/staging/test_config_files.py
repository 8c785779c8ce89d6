"""The included models and data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.staging import DataConfig, ModelConfig, items

CONF = Path(__file__).parents[3] / "conf"


def loaded(group: str, name: str) -> dict[str, Any]:
    text = (CONF / group / f"{name}.yaml").read_text(encoding="utf-8")
    values: dict[str, Any] = yaml.safe_load(text.replace("${recipes_dir:}", "/recipes"))
    assert text.startswith("# "), "the first line is what --help shows"
    return {key: "s3://b/x" if value == "???" else value for key, value in values.items()}


@pytest.mark.parametrize("name", ["minilm", "bert_tiny", "bert_base", "uri"])
def test_a_model_of_ours_is_one_item(name: str) -> None:
    model = ModelConfig(**loaded("model", name))
    data = DataConfig(source="build:///d.py")
    assert model.name == name
    assert [item.name for item in items(model, data)] == ["data", "model"]


@pytest.mark.parametrize("name", ["docstrings", "jsonl", "uri"])
def test_a_data_set_of_ours_ends_in_an_item_called_data(name: str) -> None:
    data = DataConfig(**loaded("data", name))
    assert data.name == name
    assert items(ModelConfig(), data)[-1].name == "data"


def test_the_default_model_is_pinned_by_version_and_digest() -> None:
    model = ModelConfig(**loaded("model", "minilm"))
    assert "==" in model.source
    assert len(model.sha256) == 64
