"""Turn text/label files, or a data set of the hub, into the data set that the recipe trains on.

Inputs: `data_train` and, if there is one, `data_test`: a .jsonl, .json, .csv or .parquet file, or
a folder of them. Or `data_source`: a folder that `datasets` can load, such as a snapshot of a data
set repository. Without a test split a tenth of the training split is taken, by hash of the text.

One file on purpose: a staged folder is named after the digest of the program that built it.
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
"""Where the row stands, for messages, and its columns."""


class BadDataError(Exception):
    """A sentence about the data, for the person who brought it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the columns and splits are called. Every field is an `--option`."""

    text: str = "text"
    """Column that holds the text."""
    label: str = "label"
    """Column that holds the label: a name, or a whole number."""
    train_split: str = "train"
    test_split: str = ""
    """Split of a `data_source` to evaluate on; empty takes the first of test, validation and dev
    that has labels."""
    subset: str = ""
    """Which configuration of a `data_source` that has several."""
    test_percent: int = 10
    """Share of the training split to evaluate on where there is no test split."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One row with the names that this recipe uses."""

    text: str
    label: str
    where: str
    """File and line that it came from."""


def main(words: Sequence[str] | None = None) -> None:
    """Build the data set that the command line asks for; bad data ends in a sentence and exit 1."""
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
    """Return the rows of both splits; the second is empty where there is no test split."""
    if "data_train" in inputs:
        train = list(examples(read_files(inputs["data_train"]), inputs["data_train"], settings))
        place = inputs.get("data_test")
        test = list(examples(read_files(place), place, settings)) if place else []
        return train, test
    return read_source(inputs["data_source"], settings)


# ---- files of rows ----------------------------------------------------------------------------


def read_files(place: Path) -> Iterator[PlacedRow]:
    """Yield the rows of one file, or of all data files of a folder in the order of their names."""
    found = data_files(place)
    if not found:
        kinds = ", ".join(READERS)
        raise BadDataError(f"`{place}` holds no data file; files end in one of {kinds}")
    for path in found:
        try:
            yield from READERS[path.suffix](path)
        except (UnicodeDecodeError, csv.Error, pyarrow.ArrowException) as error:
            raise BadDataError(f"`{path}` is no {path.suffix} file: {error}") from error


def data_files(place: Path) -> list[Path]:
    """Return the files under `place` that can be read; hidden ones are not data."""
    if not place.exists():
        raise BadDataError(f"there is no `{place}`")
    paths = [place] if place.is_file() else sorted(place.rglob("*"))
    return [path for path in paths if path.suffix in READERS and not path.name.startswith(".")]


def read_json_lines(path: Path) -> Iterator[PlacedRow]:
    """Yield one row per line that is not blank."""
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
        raise BadDataError(f"{where} is not an object with columns, but {text.strip()[:60]}")
    return row


def read_json(path: Path) -> Iterator[PlacedRow]:
    """Yield the objects of a JSON list; many a `.json` holds one object per line instead."""
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
    """Yield text and label of every row; a row that lacks one is an error that says where."""
    for where, row in rows:
        for column in (settings.text, settings.label):
            if column not in row:
                raise BadDataError(missing_column(column, list(row), place, settings))
            if row[column] is None or row[column] == "":
                raise BadDataError(f"{where} has nothing in column `{column}`")
        text, label = row[settings.text], row[settings.label]
        if not isinstance(text, str):
            raise BadDataError(wrong_kind(where, settings.text, text, "a text"))
        if not isinstance(label, str | int):  # true and false are whole numbers to Python
            raise BadDataError(wrong_kind(where, settings.label, label, "a name or a whole number"))
        yield Example(text=text, label=str(label), where=where)


def wrong_kind(where: str, column: str, value: object, expected: str) -> str:
    """Return the sentence about a value that a column cannot hold."""
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return f"{where} has {shown} in column `{column}`, where {expected} is expected"


def check_test_labels(train: list[Example], test: list[Example]) -> None:
    """Refuse labels to test on that nothing was there to learn from."""
    known = {row.label for row in train}
    strange = next((row for row in test if row.label not in known), None)
    if strange is None:
        return
    near = difflib.get_close_matches(strange.label, known, n=1, cutoff=0.5)
    guess = f"; did it mean `{near[0]}`?" if near else "."
    shown = ", ".join(label_order(known)[:20])
    raise BadDataError(
        f"{strange.where} has the label `{strange.label}`, which no row to train on has{guess} "
        f"One of these is expected: {shown}"
    )


def missing_column(column: str, present: list[str], place: Path, settings: Settings) -> str:
    """Return the sentence about a column that is not there, with the nearest that is."""
    option = "text" if column == settings.text else "label"
    near = difflib.get_close_matches(column, present, n=1, cutoff=0.5)
    guess = near[0] if near else next((name for name in present if name != settings.text), "NAME")
    return (
        f"`{place}` has no column `{column}`, it has: {', '.join(map(repr, present))}; "
        f"if `{guess}` is the {option}, say data.{option}={guess}"
    )


# ---- a data set of the hub ---------------------------------------------------------------------


def read_source(folder: Path, settings: Settings) -> tuple[list[Example], list[Example]]:
    """Return the rows to train and to evaluate on of a data set that `datasets` can load."""
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
        raise BadDataError(f"split `{settings.test_split}` is not there, or has no labels")
    return train, []


def load_source(folder: Path, settings: Settings) -> Any:
    """Return the splits by name."""
    if not folder.exists():
        raise BadDataError(f"there is no `{folder}`")
    if (folder / "dataset_dict.json").exists():
        return datasets.load_from_disk(str(folder))
    with tempfile.TemporaryDirectory() as cache:  # the rows are held in memory: nothing may remain
        try:
            return datasets.load_dataset(
                str(folder), settings.subset or None, cache_dir=cache, keep_in_memory=True
            )
        except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
            raise BadDataError(f"`datasets` cannot load `{folder}`: {error}") from error


def named_rows(splits: Any, name: str, settings: Settings) -> Iterator[PlacedRow]:
    """Yield the rows with the names of their labels, where the data set knows them."""
    kind = splits[name].features.get(settings.label)
    for place, row in enumerate(splits[name], start=1):
        if isinstance(kind, datasets.ClassLabel):
            number = row[settings.label]
            row = {**row, settings.label: kind.int2str(number) if number >= 0 else None}  # noqa: PLW2901
        yield f"row {place} of split `{name}`", row


def has_labels(split: Any, settings: Settings) -> bool:
    """Tell whether a split can be evaluated on; benchmarks hide the labels of theirs behind -1."""
    return settings.label in split.features and len(split) > 0 and split[0][settings.label] != -1


# ---- what the recipe reads ---------------------------------------------------------------------


def split_by_hash(rows: list[Example], percent: int) -> tuple[list[Example], list[Example]]:
    """Divide by the text alone: copies of a text stay together, and other rows change nothing."""
    sides: tuple[list[Example], list[Example]] = ([], [])
    for row in rows:
        number = int(hashlib.sha256(row.text.encode()).hexdigest()[:8], 16)
        sides[number % 100 < percent].append(row)
    train, test = sides
    known = {row.label for row in train}  # a rare label may have come to one side as a whole
    train += [row for row in test if row.label not in known]
    return train, [row for row in test if row.label in known]


def write(out: Path, splits: dict[str, list[Example]]) -> None:
    """Write the splits as a `datasets.DatasetDict`, and beside it what they hold."""
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
    """Return the classes in order: numbers as numbers, so that 10 comes after 9."""
    if len(labels) < 2:
        raise BadDataError(f"there is one label only ({', '.join(labels)}): nothing to learn")
    return label_order(labels)


def label_order(labels: set[str]) -> list[str]:
    """Return names by the alphabet, and numbers as numbers."""
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
