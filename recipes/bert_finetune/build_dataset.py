"""Turn text/label files, or a Hugging Face data set, into the data set that the recipe trains on.

Inputs: `data_train` and optionally `data_test`, each a .jsonl, .json, .csv or .parquet file or a
folder of them; or `data_source`, a folder that `datasets` can load, such as a snapshot of a data
set repository. Without a test split, a tenth of the training split is used, by hash of the text.

Keep it in one file: the staged folder is named after the digest of this program.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import hashlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet

Row = dict[str, Any]
PlacedRow = tuple[str, Row]
"""The location of the row, for messages, and its columns."""


class BadDataError(Exception):
    """Bad input data; the message is for the user."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The names of columns and splits. Every field is an `--option`."""

    text: str = "text"
    """Column that holds the text."""
    label: str = "label"
    """Column that holds the label: a name or a whole number."""
    train_split: str = "train"
    test_split: str = ""
    """Split of a `data_source` to evaluate on; empty: the first of test, validation and dev that
    has labels."""
    subset: str = ""
    """The configuration of a `data_source` that has several."""
    test_percent: int = 10
    """Share of the training split to evaluate on if there is no test split."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One row, with the column names of this recipe."""

    text: str
    label: str
    where: str
    """Its file and line."""


def main(words: Sequence[str] | None = None) -> None:
    """Build the data set; exit with 1 and a message if the data is bad."""
    out, inputs, settings = parse_arguments(words)
    try:
        train, test = read_splits(inputs, settings)
        if train and test:
            check_test_labels(train, test)
        elif train:
            train, test = split_by_hash(train, settings.test_percent)
        write(out, {"train": train, "test": test})
    except BadDataError as error:
        sys.exit(f"error: {error}")


def parse_arguments(words: Sequence[str] | None) -> tuple[Path, dict[str, Path], Settings]:
    """Return the folder to fill, the inputs by name, and the settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--input", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args(words)
    given = dict(pair.partition("=")[::2] for pair in arguments.option)
    known = {name: type(value) for name, value in vars(Settings()).items()}
    if unknown := sorted(set(given) - set(known)):
        parser.error(f"unknown option `{unknown[0]}`; there are: {', '.join(known)}")
    try:
        settings = Settings(**{name: known[name](value) for name, value in given.items()})
    except ValueError as error:
        parser.error(f"`test_percent` is a whole number: {error}")
    inputs = {name: Path(path) for name, path in (p.split("=", 1) for p in arguments.input)}
    if not inputs.keys() & {"data_train", "data_source"}:
        parser.error("no data: give --input data_train=FILE or --input data_source=FOLDER")
    return arguments.out, inputs, settings


def read_splits(inputs: dict[str, Path], settings: Settings) -> tuple[list[Example], list[Example]]:
    """Return the rows of both splits; the second is empty if there is no test split."""
    if "data_train" in inputs:
        train = list(examples(read_files(inputs["data_train"]), inputs["data_train"], settings))
        place = inputs.get("data_test")
        test = list(examples(read_files(place), place, settings)) if place else []
        return train, test
    return read_source(inputs["data_source"], settings)


# ---- files of rows -------------------------------------------------------------------------------


def read_files(place: Path) -> Iterator[PlacedRow]:
    """Yield the rows of one file, or of all data files of a folder, sorted by name."""
    found = data_files(place)
    if not found:
        kinds = ", ".join(READERS)
        raise BadDataError(f"`{place}` holds no data file; files end in one of {kinds}")
    for path in found:
        try:
            yield from READERS[path.suffix](path)
        except (UnicodeDecodeError, csv.Error, pyarrow.ArrowException) as error:
            raise BadDataError(f"`{path}` is not a {path.suffix} file: {error}") from error


def data_files(place: Path) -> list[Path]:
    """Return the data files under `place`, without hidden files."""
    if not place.exists():
        raise BadDataError(f"`{place}` does not exist")
    paths = [place] if place.is_file() else sorted(place.rglob("*"))
    return [path for path in paths if path.suffix in READERS and not path.name.startswith(".")]


def read_json_lines(path: Path) -> Iterator[PlacedRow]:
    """Yield one row per non-blank line."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield (where := f"{path}:{number}"), json_row(line, where)


def json_row(text: str, where: str) -> Row:
    """Return one JSON object."""
    try:
        row = json.loads(text)
    except ValueError as error:
        raise BadDataError(f"{where} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise BadDataError(f"{where}: expected a JSON object, got {text.strip()[:60]}")
    return row


def read_json(path: Path) -> Iterator[PlacedRow]:
    """Yield the objects of a JSON list; some `.json` files hold one object per line instead."""
    text = path.read_text(encoding="utf-8")
    if not text.lstrip().startswith("["):
        yield from read_json_lines(path)
        return
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise BadDataError(f"{path} is not JSON: {error}") from error
    for number, row in enumerate(rows, start=1):
        yield (where := f"{path}, item {number}"), json_row(json.dumps(row), where)


def read_csv(path: Path) -> Iterator[PlacedRow]:
    """Yield the rows below the header line."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        for row in reader:
            yield f"{path}:{reader.line_num}", row


def read_parquet(path: Path) -> Iterator[PlacedRow]:
    """Yield the rows of all row groups."""
    batches = pyarrow.parquet.ParquetFile(path).iter_batches()
    rows = (row for batch in batches for row in batch.to_pylist())
    for number, row in enumerate(rows, start=1):
        yield f"{path}, row {number}", row


READERS: dict[str, Callable[[Path], Iterator[PlacedRow]]] = {
    ".jsonl": read_json_lines,
    ".json": read_json,
    ".csv": read_csv,
    ".parquet": read_parquet,
}


def examples(rows: Iterator[PlacedRow], place: Path, settings: Settings) -> Iterator[Example]:
    """Yield text and label of every row; a row without one is an error that names the row."""
    for where, row in rows:
        for column in (settings.text, settings.label):
            if column not in row:
                raise BadDataError(missing_column(column, list(row), place, settings))
            if row[column] is None or row[column] == "":
                raise BadDataError(f"{where} has nothing in column `{column}`")
        text, label = row[settings.text], row[settings.label]
        if not isinstance(text, str):
            raise BadDataError(wrong_kind(where, settings.text, text, "a text"))
        if not isinstance(label, str | int):  # true and false are ints in Python
            raise BadDataError(wrong_kind(where, settings.label, label, "a name or a whole number"))
        yield Example(text=text, label=str(label), where=where)


def wrong_kind(where: str, column: str, value: object, expected: str) -> str:
    """Return the message about a value of the wrong type."""
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return f"{where} has {shown} in column `{column}`, where {expected} is expected"


def check_test_labels(train: list[Example], test: list[Example]) -> None:
    """Refuse test labels that are not in the training split."""
    known = {row.label for row in train}
    strange = next((row for row in test if row.label not in known), None)
    if strange is None:
        return
    near = difflib.get_close_matches(strange.label, known, n=1, cutoff=0.5)
    guess = f"; did it mean `{near[0]}`?" if near else "."
    shown = ", ".join(label_order(known)[:20])
    raise BadDataError(
        f"{strange.where} has the label `{strange.label}`, which no training row has{guess} "
        f"Expected one of: {shown}"
    )


def missing_column(column: str, present: list[str], place: Path, settings: Settings) -> str:
    """Return the message about a missing column, with the nearest existing one."""
    option = "text" if column == settings.text else "label"
    near = difflib.get_close_matches(column, present, n=1, cutoff=0.5)
    guess = near[0] if near else next((name for name in present if name != settings.text), "NAME")
    return (
        f"`{place}` has no column `{column}`, it has: {', '.join(map(repr, present))}; "
        f"if `{guess}` is the {option}, add data.{option}={guess}"
    )


# ---- Hugging Face data sets ----------------------------------------------------------------------


def read_source(folder: Path, settings: Settings) -> tuple[list[Example], list[Example]]:
    """Return the training and test rows of a data set that `datasets` can load."""
    splits = load_source(folder, settings)
    if settings.train_split not in splits:
        raise BadDataError(
            f"the data set has no split `{settings.train_split}`, it has: {', '.join(splits)}; "
            "choose with data.options.train_split=NAME"
        )
    train = list(examples(named_rows(splits, settings.train_split, settings), folder, settings))
    wanted = [settings.test_split] if settings.test_split else ["test", "validation", "dev"]
    for name in wanted:
        if name in splits and has_labels(splits[name], settings):
            return train, list(examples(named_rows(splits, name, settings), folder, settings))
    if settings.test_split:
        raise BadDataError(f"split `{settings.test_split}` does not exist, or has no labels")
    return train, []


def load_source(folder: Path, settings: Settings) -> Any:
    """Return the splits by name."""
    if not folder.exists():
        raise BadDataError(f"`{folder}` does not exist")
    if (folder / "dataset_dict.json").exists():
        return datasets.load_from_disk(str(folder))
    with tempfile.TemporaryDirectory() as cache:  # rows are in memory: leave no files
        try:
            return datasets.load_dataset(
                str(folder), settings.subset or None, cache_dir=cache, keep_in_memory=True
            )
        except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
            raise BadDataError(f"`datasets` cannot load `{folder}`: {error}") from error


def named_rows(splits: Any, name: str, settings: Settings) -> Iterator[PlacedRow]:
    """Yield the rows; labels are names where the data set defines them."""
    kind = splits[name].features.get(settings.label)
    for place, row in enumerate(splits[name], start=1):
        if isinstance(kind, datasets.ClassLabel):
            number = row[settings.label]
            row = {**row, settings.label: kind.int2str(number) if number >= 0 else None}  # noqa: PLW2901
        yield f"row {place} of split `{name}`", row


def has_labels(split: Any, settings: Settings) -> bool:
    """Return whether a split has labels; benchmarks hide those of their test split with -1."""
    return settings.label in split.features and len(split) > 0 and split[0][settings.label] != -1


# ---- what the recipe reads -----------------------------------------------------------------------


def split_by_hash(rows: list[Example], percent: int) -> tuple[list[Example], list[Example]]:
    """Split by hash of the text: equal texts stay together, and other rows change nothing."""
    sides: tuple[list[Example], list[Example]] = ([], [])
    for row in rows:
        number = int(hashlib.sha256(row.text.encode()).hexdigest()[:8], 16)
        sides[number % 100 < percent].append(row)
    train, test = sides
    known = {row.label for row in train}  # all rows of a rare label may be in one split
    train += [row for row in test if row.label not in known]
    return train, [row for row in test if row.label in known]


def write(out: Path, splits: dict[str, list[Example]]) -> None:
    """Write the splits as a `datasets.DatasetDict`, and a summary beside it."""
    for split, rows in splits.items():
        if not rows:
            raise BadDataError(f"there are no rows to {split} on")
    names = label_names({row.label for rows in splits.values() for row in rows})
    datasets.disable_progress_bars()
    datasets.DatasetDict(
        {split: table(rows, names) for split, rows in splits.items()}
    ).save_to_disk(str(out))
    counts = {split: Counter(row.label for row in rows) for split, rows in splits.items()}
    summary = {
        "rows": {split: len(rows) for split, rows in splits.items()},
        "labels": {name: {split: counts[split][name] for split in splits} for name in names},
    }
    (out / "README.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    total = sum(len(rows) for rows in splits.values())
    print(f"PROGRESS {total} {total} rows", flush=True)


def label_names(labels: set[str]) -> list[str]:
    """Return the classes in order; numbers sort as numbers, so that 10 comes after 9."""
    if len(labels) < 2:
        raise BadDataError(f"there is one label only ({', '.join(labels)}): nothing to learn")
    return label_order(labels)


def label_order(labels: set[str]) -> list[str]:
    """Sort names alphabetically, and numbers as numbers."""
    if all(label.lstrip("-").isdigit() for label in labels):
        return sorted(labels, key=int)
    return sorted(labels)


def table(rows: list[Example], names: list[str]) -> Any:
    """Return one split: its row number, text and label."""
    numbers = {name: number for number, name in enumerate(names)}
    columns = {
        "id": list(range(len(rows))),
        "text": [row.text for row in rows],
        "label": [numbers[row.label] for row in rows],
    }
    kinds = {
        "id": datasets.Value("int64"),
        "text": datasets.Value("string"),
        "label": datasets.ClassLabel(names=names),
    }
    return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))


if __name__ == "__main__":
    main()
