"""Build a text classification data set from docstrings of the Python installation.

The text is the prose of a docstring. The label is the library that it documents or, in the standard
library, the topic. Nothing is downloaded or imported: source files are parsed with `ast`. The same
files give the same data set.

Keep it in one file: the staged folder is named after the digest of this program.
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
"""Topic -> its modules of the standard library.

Topics that a person could not distinguish by their prose are omitted. Modules that do not exist in
this Python version are skipped.
"""

PACKAGES = "fsspec huggingface_hub networkx numpy pandas pygments rich sympy torch transformers"
"""Dependencies of the launcher, so the labels are the same on every machine."""

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
    """What goes into the data set. Every field is an `--option`."""

    packages: str = PACKAGES
    """Installed packages, separated by blanks or commas. Each is a label."""
    per_label: int = 250
    """Maximum number of examples per label, training and test together."""
    min_per_label: int = 60
    """A label with fewer examples is omitted."""
    per_file: int = 12
    """Maximum number of examples per file, so that a long module does not dominate its label."""
    max_words: int = 60
    min_words: int = 12
    test_percent: int = 15


@dataclass(frozen=True, kw_only=True, order=True)
class Example:
    """One docstring. Examples sort by the digest of the text, independent of disk and label."""

    digest: str
    text: str
    label: str


def main() -> None:
    """Build the data set."""
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
    """Return the folder to fill and the settings; exit with a message if an option is bad."""
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
        parser.error(f"expected a whole number: {error}")


def find_sources(settings: Settings) -> dict[str, list[Path]]:
    """Return label -> its source files, in an order that depends only on their names."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    sources = {}
    for topic, modules in TOPICS.items():
        roots = [stdlib / name for name in modules.split()]
        paths = (path for root in roots for path in (root.with_suffix(".py"), *root.rglob("*.py")))
        sources[topic] = shuffled(paths, stdlib)
    for name in settings.packages.replace(",", " ").split():
        spec = importlib.util.find_spec(name)  # does not import a top-level package
        for folder in (spec and spec.submodule_search_locations) or ():
            sources[name] = shuffled(Path(folder).rglob("*.py"), Path(folder))
    return {label: files for label, files in sources.items() if files}


def shuffled(paths: Iterable[Path], root: Path) -> list[Path]:
    """Return the documented files, sorted by the digest of their names to mix the folders."""
    files = ((path.relative_to(root), path) for path in paths if path.is_file())
    wanted = [
        (digest_of(name.as_posix()), path)
        for name, path in files
        if not NOT_DOCUMENTATION.intersection(name.parts)
    ]
    return [path for _, path in sorted(wanted)]


def collect(label: str, files: list[Path], settings: Settings) -> list[Example]:
    """Read files until `label` has twice as many examples as it keeps."""
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
            warnings.simplefilter("ignore")  # invalid escapes in third-party code
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
    """Yield the nodes that may have a docstring.

    Unlike `ast.walk`, this skips expressions, which are most of a tree.
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
    return text.encode("utf-8", "ignore").decode()  # tables cannot store lone surrogates


def opening(text: str) -> str:
    """Return a key that copies of a docstring share, even if their endings differ."""
    return re.sub(r"[^a-z]+", " ", text.lower()).strip()[:80]


def choose(pools: dict[str, list[Example]], settings: Settings) -> list[Example]:
    """Drop texts with two labels and labels with too few examples; limit large labels."""
    owners = Counter(opening(example.text) for pool in pools.values() for example in pool)
    chosen: list[Example] = []
    for pool in pools.values():
        unique = sorted(example for example in pool if owners[opening(example.text)] == 1)
        if len(unique) >= settings.min_per_label:
            chosen += unique[: settings.per_label]
    return sorted(chosen)


def write(out: Path, examples: list[Example], settings: Settings) -> None:
    """Write the splits as a `datasets.DatasetDict`, and a summary beside it."""
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
    """Split by the text alone: other examples do not change the split of this one."""
    return int(digest_of("split:" + example.text)[:8], 16) % 100 < settings.test_percent


def digest_of(text: str) -> str:
    """Return a digest that gives a text a random but reproducible position."""
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    main()
