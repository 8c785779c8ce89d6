"""The tiny model: the same every time, and one that transformers can load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import transformers

from recipes.bert_finetune import build_tiny_bert as program

pytestmark = pytest.mark.process


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Many words of equal frequency: ties that only a fixed order breaks the same way."""
    texts = [f"word{i} über thing{i % 7} re-{i}" for i in range(300)]
    datasets.disable_progress_bars()
    split = datasets.Dataset.from_dict({"text": texts})
    datasets.DatasetDict({"train": split}).save_to_disk(str(tmp_path / "data"))
    return tmp_path / "data"


def build(out: Path, data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the program as staging does, in a process whose hash maps have their own order."""
    words = [word for option in options for word in ("--option", option)]
    command = [sys.executable, program.__file__, "--out", str(out), "--input", f"data={data}"]
    return subprocess.run(
        [*command, *words], capture_output=True, text=True, check=False, timeout=120
    )


def test_the_same_data_and_options_give_the_same_files(tmp_path: Path, data: Path) -> None:
    for name in ("one", "two"):
        done = build(tmp_path / name, data, "vocabulary=400", "hidden=32")
        assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    model = transformers.AutoModel.from_pretrained(tmp_path / "one")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "one")
    assert model.config.hidden_size == 32
    assert model.config.vocab_size == len(tokenizer) <= 400
    tokens = tokenizer("thing3 word299")["input_ids"]
    assert tokenizer.decode(tokens) == "[CLS] thing3 word299 [SEP]"
    assert tokenizer.unk_token_id not in tokens


def test_an_option_that_is_no_number_is_a_sentence(tmp_path: Path, data: Path) -> None:
    done = build(tmp_path / "out", data, "hidden=wide")
    assert done.returncode == 2
    assert "every option is a whole number" in done.stderr
