"""Build a text classification data set from what every Python installation has: docstrings.

The text is the prose of a docstring; the label is the library that it documents or, inside the
standard library, the topic. Nothing is downloaded and nothing is imported: source files are parsed
with `ast`. The same files give the same data set.

One file on purpose: a staged folder is named after the digest of the program that built it.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.util
import inspect
import json
import re
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets

TOPICS: dict[str, str] = {
    "python: concurrency": """
        asyncio concurrent multiprocessing queue sched selectors subprocess threading""",
    "python: desktop": """
        idlelib tkinter turtle turtledemo""",
    "python: files": """
        _pyio bz2 dbm fileinput filecmp fnmatch genericpath glob gzip lzma ntpath os pathlib
        posixpath shelve shutil stat tarfile tempfile zipapp zipfile zipimport""",
    "python: formats": """
        base64 codecs configparser csv email encodings html json mailbox mimetypes pickle
        pickletools plistlib quopri tomllib xml""",
    "python: internet": """
        cgi cgitb ftplib http imaplib ipaddress nntplib poplib smtplib socket socketserver ssl
        telnetlib urllib webbrowser wsgiref xmlrpc""",
    "python: language": """
        _collections_abc abc ast codeop collections contextlib copy dataclasses dis enum functools
        importlib inspect operator pkgutil runpy symtable tokenize types typing weakref""",
}
"""Topic -> modules of the standard library that belong to it.

Not all of them: topics that a person could not tell apart by their prose are left out. A module
that a Python version lacks is passed over.
"""

PACKAGES = "fsspec huggingface_hub networkx numpy pandas pygments rich sympy torch transformers"
"""All of them come with the launcher, so the labels are the same on every machine."""

NOT_DOCUMENTATION = {
    "test",
    "tests",
    "testing",
    "idle_test",
    "_vendor",
    "site-packages",
    "__pycache__",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How much of what there is goes into the data set. Every field is an `--option`."""

    packages: str = PACKAGES
    """Names of installed packages, each a label, separated by blanks or commas."""
    per_label: int = 250
    """Most examples that one label keeps, training and test together."""
    min_per_label: int = 60
    """A label with fewer examples is left out."""
    per_file: int = 12
    """Most examples from one file, so that one long module does not fill a label."""
    max_words: int = 60
    min_words: int = 12
    test_percent: int = 15


@dataclass(frozen=True, kw_only=True, order=True)
class Example:
    """One docstring. They sort by the digest of the text, which neither disk nor label knows."""

    digest: str
    text: str
    label: str


def main() -> None:
    """Build the data set that the command line asks for."""
    out, settings = parse_arguments()
    sources = find_sources(settings)
    pools: dict[str, list[Example]] = {}
    for done, (label, files) in enumerate(sources.items()):
        print(f"PROGRESS {done} {len(sources)} labels", flush=True)
        pools[label] = collect(label, files, settings)
    chosen = choose(pools, settings)
    if not chosen:
        sys.exit("no docstrings found: are the .py files of Python and of the packages installed?")
    write(out, chosen, settings)
    print(f"PROGRESS {len(sources)} {len(sources)} labels", flush=True)


def parse_arguments() -> tuple[Path, Settings]:
    """Return the folder to fill and the settings; a bad option ends the program with a sentence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    given = dict(pair.partition("=")[::2] for pair in arguments.option)
    known = {name: type(value) for name, value in vars(Settings()).items()}
    if unknown := sorted(set(given) - set(known)):
        parser.error(f"unknown option `{unknown[0]}`; there are: {', '.join(known)}")
    try:
        return arguments.out, Settings(
            **{name: known[name](value) for name, value in given.items()}
        )
    except ValueError as error:
        parser.error(f"an option that counts something is no whole number: {error}")


def find_sources(settings: Settings) -> dict[str, list[Path]]:
    """Return label -> its source files, in an order that depends on their names only."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    sources = {}
    for topic, modules in TOPICS.items():
        roots = [stdlib / name for name in modules.split()]
        paths = (path for root in roots for path in (root.with_suffix(".py"), *root.rglob("*.py")))
        sources[topic] = shuffled(paths, stdlib)
    for name in settings.packages.replace(",", " ").split():
        spec = importlib.util.find_spec(name)  # of a top-level name: finds it, does not import it
        for folder in (spec and spec.submodule_search_locations) or ():
            sources[name] = shuffled(Path(folder).rglob("*.py"), Path(folder))
    return {label: files for label, files in sources.items() if files}


def shuffled(paths: Iterable[Path], root: Path) -> list[Path]:
    """Return the documented files in the order of their names' digests, so that no folder leads."""
    files = ((path.relative_to(root), path) for path in paths if path.is_file())
    wanted = [
        (digest_of(name.as_posix()), path)
        for name, path in files
        if not NOT_DOCUMENTATION.intersection(name.parts)
    ]
    return [path for _, path in sorted(wanted)]


def collect(label: str, files: list[Path], settings: Settings) -> list[Example]:
    """Read files until `label` has enough for the choice among them to be a choice."""
    found: dict[str, Example] = {}
    for path in files:
        texts = sorted(set(prose_of_file(path, settings)), key=digest_of)
        for text in texts[: settings.per_file]:
            found.setdefault(opening(text), Example(digest=digest_of(text), text=text, label=label))
        if len(found) >= 2 * settings.per_label:
            break
    return list(found.values())


def prose_of_file(path: Path, settings: Settings) -> Iterator[str]:
    """Yield the prose of each docstring in a file; a file that does not parse has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in documented(tree):
        words = prose(ast.get_docstring(node, clean=False) or "").split()
        if len(words) >= settings.min_words:
            yield " ".join(words[: settings.max_words])


def documented(
    tree: ast.Module,
) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield what may carry a docstring.

    Unlike `ast.walk` this enters no expression, and expressions are most of a tree.
    """
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        waiting += getattr(node, "body", ()) if isinstance(node, ast.stmt | ast.Module) else ()


CODE_LINE = re.compile(
    r"\s*(>>>|\.\.\.|[-=~^*#+|]{3,}|:\w+[^:]*:|@|\$|(args|returns?|raises|parameters)\W*$)", re.I
)
SIGNATURE = re.compile(r"^[\w.]+\([^)]*\)\s*(->.*?)?(--|:|\n|$)\s*")
MARKUP = (
    (re.compile(r":[\w:]+:`~?([^`<]*)[^`]*`"), r"\1"),
    (re.compile(r"\.\. [\w-]+::"), ""),
    (re.compile(r"[`*|]+"), ""),
)


def prose(docstring: str) -> str:
    """Return a docstring without its signature line, code, section rules and markup."""
    lines = [line for line in inspect.cleandoc(docstring).splitlines() if not CODE_LINE.match(line)]
    text = SIGNATURE.sub("", "\n".join(lines).strip())
    for pattern, replacement in MARKUP:
        text = pattern.sub(replacement, text)
    return text.encode("utf-8", "ignore").decode()  # a lone surrogate fits in no table


def opening(text: str) -> str:
    """Return what two copies of one docstring share, though their endings differ."""
    return re.sub(r"[^a-z]+", " ", text.lower()).strip()[:80]


def choose(pools: dict[str, list[Example]], settings: Settings) -> list[Example]:
    """Return what to keep: no text of two labels, no label of too few texts, none of too many."""
    owners = Counter(opening(example.text) for pool in pools.values() for example in pool)
    chosen: list[Example] = []
    for pool in pools.values():
        unique = sorted(example for example in pool if owners[opening(example.text)] == 1)
        if len(unique) >= settings.min_per_label:
            chosen += unique[: settings.per_label]
    return sorted(chosen)


def write(out: Path, examples: list[Example], settings: Settings) -> None:
    """Write the splits as a `datasets.DatasetDict`, and beside it what they hold."""
    names = sorted({example.label for example in examples})
    splits: dict[str, list[Example]] = {"train": [], "test": []}
    for example in examples:
        splits["test" if is_test(example, settings) else "train"].append(example)
    datasets.disable_progress_bars()
    datasets.DatasetDict(
        {split: table(rows, names) for split, rows in splits.items()}
    ).save_to_disk(str(out))
    counts = {split: Counter(row.label for row in rows) for split, rows in splits.items()}
    summary = {
        "what": "docstrings; the label is the package, or the topic of the standard library",
        "python": sys.version.split()[0],
        "rows": {split: len(rows) for split, rows in splits.items()},
        "labels": {name: {split: counts[split][name] for split in splits} for name in names},
    }
    (out / "README.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def table(rows: list[Example], names: list[str]) -> datasets.Dataset:
    """Return one split: its row number, text and label."""
    columns = {
        "id": list(range(len(rows))),
        "text": [row.text for row in rows],
        "label": [names.index(row.label) for row in rows],
    }
    kinds = {
        "id": datasets.Value("int64"),
        "text": datasets.Value("string"),
        "label": datasets.ClassLabel(names=names),
    }
    return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))


def is_test(example: Example, settings: Settings) -> bool:
    """Split by the text alone: an example stays on its side when others come or go."""
    return int(digest_of("split:" + example.text)[:8], 16) % 100 < settings.test_percent


def digest_of(text: str) -> str:
    """Return the order of a text among others: the same everywhere, and without meaning."""
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    main()
