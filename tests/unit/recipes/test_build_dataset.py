"""Files and data sets of people become what the recipe reads, or a sentence says why not."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest

from recipes.bert_finetune import build_dataset as program

ROWS = [{"text": f"text {i}", "label": ("yes", "no")[i % 2]} for i in range(40)]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")


def write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(rows))


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as lines:
        table = csv.DictWriter(lines, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)


WRITERS = {"jsonl": write_jsonl, "json": write_json, "csv": write_csv, "parquet": write_parquet}


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., datasets.DatasetDict]:
    """Run the program on named inputs; return what it wrote."""

    def run(*options: str, **inputs: Path) -> datasets.DatasetDict:
        words = [w for name, path in inputs.items() for w in ("--input", f"{name}={path}")]
        words += [w for option in options for w in ("--option", option)]
        out = tmp_path / "out"
        program.main(["--out", str(out), *words])
        return datasets.load_from_disk(str(out))

    return run


def refusal(build: Callable[..., Any], *options: str, **inputs: Path) -> str:
    with pytest.raises(SystemExit) as ended:
        build(*options, **inputs)
    assert str(ended.value).startswith("error: ")
    return str(ended.value)


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_of_file_gives_the_same_data_set(kind: str, tmp_path: Path, build: Any) -> None:
    train, test = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    WRITERS[kind](train, ROWS[:30])
    WRITERS[kind](test, ROWS[30:])
    data = build(data_train=train, data_test=test)
    assert list(data["train"]["text"]) == [row["text"] for row in ROWS[:30]]
    assert list(data["test"]["id"]) == list(range(10))
    labels = data["train"].features["label"]
    assert labels.names == ["no", "yes"]
    assert labels.int2str(list(data["test"]["label"])) == [row["label"] for row in ROWS[30:]]


def test_a_staged_folder_stands_for_the_files_in_it(tmp_path: Path, build: Any) -> None:
    folder = tmp_path / "staged"
    folder.mkdir()
    write_jsonl(folder / "b.jsonl", ROWS[20:])
    write_jsonl(folder / "a.jsonl", ROWS[:20])
    (folder / ".launcher-manifest.json").write_text("{}")
    data = build("test_percent=20", data_train=folder)
    assert {len(data["train"]) + len(data["test"])} == {40}


def test_without_a_test_split_a_tenth_is_taken_by_hash_of_the_text(
    tmp_path: Path, build: Any
) -> None:
    rows = [{"text": f"text {i}", "label": str(i % 3)} for i in range(1000)]
    write_jsonl(tmp_path / "a.jsonl", rows + rows[:100])
    data = build(data_train=tmp_path / "a.jsonl")
    assert 70 < len(data["test"]) < 150
    assert not set(data["train"]["text"]) & set(data["test"]["text"])


def test_numbers_as_labels_are_ordered_as_numbers(tmp_path: Path, build: Any) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": f"t{i}", "label": i % 12} for i in range(200)])
    names = build(data_train=tmp_path / "a.jsonl")["train"].features["label"].names
    assert names == [str(i) for i in range(12)]


def test_other_column_names_are_an_option(tmp_path: Path, build: Any) -> None:
    rows = [{"sentence": row["text"], "category": row["label"]} for row in ROWS]
    write_csv(tmp_path / "a.csv", rows)
    data = build("text=sentence", "label=category", data_train=tmp_path / "a.csv")
    assert data["train"].column_names == ["id", "text", "label"]


def test_a_missing_column_is_told_with_the_nearest_that_is_there(
    tmp_path: Path, build: Any
) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "x", "labels": "y"}])
    told = refusal(build, data_train=tmp_path / "a.jsonl")
    assert "has no column `label`" in told
    assert "data.label=labels" in told


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.jsonl", '{"text": "x", "label": "y"}\n{"text": ', "a.jsonl:2 is not JSON"),
        ("a.jsonl", "[1, 2]\n", "expected a JSON object, got [1, 2]"),
        ("a.json", "[{]", "is not JSON"),
        ("a.jsonl", '{"text": "x", "label": null}\n', "a.jsonl:1 has nothing in"),
        ("a.csv", "text,label\nx,y\nonly\n", "a.csv:3 has nothing in column `label`"),
        (
            "a.jsonl",
            '{"text": "x", "label": "y"}\n\n{"text": 7, "label": "y"}\n',
            "a.jsonl:3 has 7 in column `text`, where a text is expected",
        ),
        (
            "a.jsonl",
            '{"text": "x", "label": ["y"]}\n',
            "a.jsonl:1 has ['y'] in column `label`, where a name or a whole number is expected",
        ),
        ("a.jsonl", '{"text": "x", "label": 0.5}\n', "a.jsonl:1 has 0.5 in column `label`"),
        ("a.json", '[{"text": {"a": 1}, "label": "y"}]', "a.json, item 1 has {'a': 1} in column"),
        ("a.parquet", "no parquet at all", "is not a .parquet file"),
        ("a.jsonl", "", "there are no rows to train on"),
        ("a.jsonl", '{"text": "x", "label": "y"}\n' * 3, "there is one label only (y)"),
        ("a.xlsx", "x", "holds no data file"),
    ],
)
def test_bad_data_is_a_sentence_that_says_where(
    name: str, content: str, sentence: str, tmp_path: Path, build: Any
) -> None:
    (tmp_path / name).write_text(content)
    (tmp_path / "b.jsonl").write_text('{"text": "x", "label": "y"}\n')
    inputs = {"data_train": tmp_path / name, "data_test": tmp_path / "b.jsonl"}
    assert sentence in refusal(build, **inputs)


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path, build: Any) -> None:
    assert "gone.jsonl` does not exist" in refusal(build, data_train=tmp_path / "gone.jsonl")


def saved(folder: Path, **splits: list[int]) -> Path:
    """A data set as `datasets` saves it, with named labels."""
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    datasets.disable_progress_bars()
    datasets.DatasetDict(
        {
            name: datasets.Dataset.from_dict(
                {"text": [f"{name} {i}" for i in range(len(labels))], "label": labels},
                features=features,
            )
            for name, labels in splits.items()
        }
    ).save_to_disk(str(folder))
    return folder


def test_a_data_set_keeps_the_names_of_its_labels(tmp_path: Path, build: Any) -> None:
    data = build(data_source=saved(tmp_path / "set", train=[0, 1, 1], test=[1, 0]))
    assert data["train"].features["label"].names == ["bad", "good"]
    assert list(data["test"]["label"]) == [1, 0]


def test_a_test_split_with_hidden_labels_gives_way_to_validation(
    tmp_path: Path, build: Any
) -> None:
    source = saved(tmp_path / "set", train=[0, 1, 1], test=[-1, -1], validation=[1, 0, 1, 1])
    assert build(data_source=source)["test"][0]["text"] == "validation 0"


def test_a_split_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, build: Any) -> None:
    source = saved(tmp_path / "set", train=[0, 1], extra=[1, 0])
    told = refusal(build, "train_split=trian", data_source=source)
    assert "has no split `trian`" in told
    assert "train, extra" in told


def test_a_snapshot_of_a_data_set_repository_is_loaded(tmp_path: Path, build: Any) -> None:
    folder = tmp_path / "snapshot" / "data"
    folder.mkdir(parents=True)
    write_parquet(folder / "train-00000-of-00001.parquet", ROWS[:30])
    write_parquet(folder / "test-00000-of-00001.parquet", ROWS[30:])
    (folder.parent / ".launcher-manifest.json").write_text('{"files": []}')
    data = build(data_source=tmp_path / "snapshot")
    assert (len(data["train"]), len(data["test"])) == (30, 10)


def test_a_single_file_as_source_is_divided(tmp_path: Path, build: Any) -> None:
    folder = tmp_path / "staged"
    folder.mkdir()
    write_csv(folder / "all of it.csv", ROWS)
    (folder / ".launcher-manifest.json").write_text('{"files": []}')
    data = build("test_percent=30", data_source=folder)
    assert len(data["train"]) + len(data["test"]) == len(ROWS)
    assert len(data["test"]) > 0


def test_a_label_to_test_on_that_was_never_trained_is_refused(tmp_path: Path, build: Any) -> None:
    write_jsonl(tmp_path / "a.jsonl", ROWS)
    write_jsonl(tmp_path / "b.jsonl", [ROWS[0], {"text": "z", "label": "yess"}])
    told = refusal(build, data_train=tmp_path / "a.jsonl", data_test=tmp_path / "b.jsonl")
    assert "b.jsonl:2 has the label `yess`" in told
    assert "did it mean `yes`?" in told
    assert told.endswith("Expected one of: no, yes")


def test_a_rare_label_is_trained_on_wherever_its_hash_falls(tmp_path: Path, build: Any) -> None:
    rows = [*ROWS, *({"text": f"rare {i}", "label": f"rare {i}"} for i in range(30))]
    write_jsonl(tmp_path / "a.jsonl", rows)
    data = build("test_percent=50", data_train=tmp_path / "a.jsonl")
    assert len(data["test"]) > 0
    assert set(data["test"]["label"]) <= set(data["train"]["label"])
    assert len(data["train"]) + len(data["test"]) == len(rows)
