"""Texts use the words of `tests/words.py`; one case for each room and page."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import words

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "pyproject.toml", ".ci/run")
FOLDERS = ("conf", "recipes", "slurm")


def parts() -> Iterator[tuple[str, list[Path]]]:
    """Yield each room and page with its files. Pages of `docs/adr` are records and stay."""
    for entry in sorted((ROOT / "launcher").iterdir()):
        if entry.suffix == ".py":
            yield f"launcher/{entry.name}", [entry]
        elif files := sorted(entry.rglob("*.py")):
            yield f"launcher/{entry.name}", files
    for page in sorted((ROOT / "docs").glob("*.md")):
        yield f"docs/{page.name}", [page]
    for name in FOLDERS:
        files = sorted((ROOT / name).rglob("*"))
        yield name, [file for file in files if file.suffix in {".py", ".yaml", ".sbatch"}]
    for name in PAGES:
        yield name, [ROOT / name]


PARTS = dict(parts())


@pytest.mark.parametrize("part", PARTS)
def test_the_words_are_plain_in(part: str) -> None:
    hits = [hit for file in PARTS[part] for hit in words.find(file)]
    lines = [str(hit).removeprefix(f"{ROOT}/") for hit in hits]
    assert not hits, f"{len(hits)} in {part}\n" + "\n".join(lines)


def test_the_commit_hook_checks_the_same_files() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    (hook,) = (hook for hook in config["repos"][0]["hooks"] if hook["id"] == "words")
    checked = [str(file.relative_to(ROOT)) for files in PARTS.values() for file in files]
    assert [name for name in checked if not re.search(hook["files"], name)] == []
    for other in ("docs/adr/0001-x.md", "tests/words.py", "launcher/data.json"):
        assert not re.search(hook["files"], other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# it mends it", [(1, "mends")]),
        ("# I recommend amendments", []),
        ("x = 'leave `nodes` away'", [(1, "leave `nodes` away")]),
        ("x = f'leave {nodes} away'", [(1, "leave {nodes} away")]),
        ("x = (\n    'this is '\n    'no number'\n)", [(2, "is ' 'no")]),
        ("# this is\n# no number", [(1, "is # no")]),
        ("# there is no number, and it is no longer a run", []),
        ('"""One.\n\nIt goes\non.\n"""', [(3, "goes on")]),
        ("told = goes_on(trouble)", []),
        ("x = f'{told} {trouble!r}'", []),
        ("x = 'https://x.org/at-once', y.keeper", []),
        ("# a file stands in the way", []),
        ("# it stands in the file", [(1, "stands in")]),
        ("x = 'is'  # no", []),
    ],
)
def test_words_are_found_in_comments_and_strings(
    tmp_path: Path, text: str, expected: list[tuple[int, str]]
) -> None:
    file = tmp_path / "file.py"
    file.write_text(text)
    assert [(hit.line, hit.words) for hit in words.find(file)] == expected


@pytest.mark.parametrize("name", ["page.md", "conf.yaml", "job.sbatch"])
def test_words_are_found_anywhere_in_other_files(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("a: b\n# the run goes\n# on\n" if name != "page.md" else "#\nit goes\non\n")
    assert [hit.line for hit in words.find(file)] == [2]


@pytest.mark.process
def test_the_command_prints_place_word_and_replacement(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("fine\n\nNobody mends it.\n")
    (tmp_path / "b.md").write_text("fine\n")
    command = [sys.executable, words.__file__]
    done = subprocess.run(
        [*command, "a.md", "b.md"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert sorted(done.stdout.splitlines()) == [
        "a.md:3: `Nobody`: write name it: another process, another user, no rank",
        "a.md:3: `mends`: write fix",
    ]
    assert subprocess.run([*command, "b.md"], cwd=tmp_path, check=False).returncode == 0
