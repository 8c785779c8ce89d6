"""What is not a Python file is refused by name; whatever some Python can run is accepted."""

from __future__ import annotations

import py_compile
import zipfile
from pathlib import Path

import pytest

from launcher.errors import PreflightError
from launcher.programs import import_path, require_script

NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path


def accepted(file: Path, here: Path) -> bool:
    try:
        require_script(file, import_path(here, {}))
    except PreflightError:
        return False
    return True


def refused(file: Path, here: Path) -> tuple[str, str]:
    with pytest.raises(PreflightError) as caught:
        require_script(file, import_path(here, {}))
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.py", "import torch\n"),
        ("train.py", "# \r\nimport torch\r\n"),
        ("train.py", "\ufeffprint()\n"),
        ("train.py", "def broken(:\n"),  # the ranks show the line; a newer Python may accept it
        ("train.py", "#!/usr/bin/env -S uv run --script\nprint()\n"),
        ("train.py", "#!/bin/sh\n''''exec python3 \"$0\" \"$@\" # '''\nprint()\n"),
        ("train", "#!/usr/bin/env python3\nmatch x:\n"),
        ("train", "print()\n"),
        ("train.pyw", "print()\n"),
        ("train.sh", "print()\n"),
        ("a (1).py", "print()\n"),
        ("train.v2.py", '{"nbformat": 1}["nbformat"]\n'),
    ],
)
def test_what_some_python_can_run_is_accepted(here: Path, name: str, content: str) -> None:
    (here / name).write_text(content, newline="")
    assert accepted(here / name, here)


def test_an_encoding_cookie_is_respected(here: Path) -> None:
    (here / "train").write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\n")
    assert accepted(here / "train", here)


@pytest.mark.parametrize(
    ("name", "content", "what", "hint"),
    [
        ("train.py", b"", "is empty", "script="),
        ("train.sh", b"python train.py\n", "a script for a shell", "run `python -m launcher` in"),
        ("train", b"#!/bin/bash\npython train.py\n", "a script for bash", "script="),
        ("train.py", b"#!/usr/bin/env zsh\npython a.py\n", "a script for zsh", "script="),
        ("run", b"#!/usr/bin/perl\nuse strict;\n", "a script for perl", "script="),
        ("job.slurm", b"#SBATCH -N2\nsrun x\n", "a script for a shell", "script="),
        ("train.ipynb", NOTEBOOK.encode(), "is a notebook", "nbconvert --to script train.ipynb"),
        ("train", NOTEBOOK.encode(), "is a notebook", "script=train.py"),
        ("my nb/a.ipynb", NOTEBOOK.encode(), "is a notebook", "--to script 'my nb/a.ipynb'"),
        ("my nb/a.ipynb", NOTEBOOK.encode(), "is a notebook", "script=my nb/a.py"),
        ("p/__pycache__/a.cpython-311.pyc", b"\xa7\r\r\n\0", "compiled", "script=p/a.py"),
        ("python3", b"\x7fELF\x02\x01\x01\0", "a program for Linux", "give a Python file"),
        ("train.py", b"\x7fELF\x02\x01\x01\0", "a program for Linux", "give a Python file"),
        ("a.tar.gz", b"\x1f\x8b\x08\0", "a gzip archive", "unpack it"),
        ("train.py", b"x = 1\0\n", "a binary file", "give a Python file"),
        ("train.py", "x = 1\n".encode("utf-16"), "in UTF-16", "save it as UTF-8"),
        ("conf.yaml", b"lr: 0.1\n", "not a Python file", "script="),
        ("conf.json", b'{"lr": 0.1}', "not a Python file", "script="),
        ("README.md", b"hello\n", "not a Python file", "rename"),
        ("train", b"hello world\n", "not a Python file", "rename"),
        ("model.pt", b"\x80\x02\x8a\nl\xfc\0", "a binary file", "script="),
    ],
)
def test_what_python_cannot_run_is_named(
    here: Path, name: str, content: bytes, what: str, hint: str
) -> None:
    (here / name).parent.mkdir(parents=True, exist_ok=True)
    (here / name).write_bytes(content)
    message, says = refused(here / name, here)
    assert str(here / name) in message
    assert what in message
    assert hint in says


@pytest.mark.parametrize("name", ["train.pyc", "compiled"])
def test_compiled_python_is_refused(here: Path, name: str) -> None:
    (here / "train.py").write_text("x = 1\n")
    py_compile.compile(str(here / "train.py"), cfile=str(here / name), doraise=True)
    message, hint = refused(here / name, here)
    assert "is compiled Python" in message
    assert "source file: script=" in hint


def test_a_zip_is_refused(here: Path) -> None:
    with zipfile.ZipFile(here / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", "")
    assert "is a zip archive" in refused(here / "app.pyz", here)[0]


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        (["pkg/__main__.py", "pkg/x.py"], "`module=pkg` runs its `__main__.py`"),
        (["pkg/__init__.py", "pkg/train.py"], "such as `module=pkg.train`"),
        (["pkg/train.py"], "such as `script=pkg/train.py`"),
        (["pkg/README"], "give a Python file"),
    ],
)
def test_a_folder_is_refused_with_the_word_to_type(here: Path, files: list[str], hint: str) -> None:
    (here / "pkg").mkdir()
    for name in files:
        (here / name).touch()
    message, says = refused(here / "pkg", here)
    assert f"the program {here / 'pkg'} is a folder" in message
    assert hint in says


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("pkg.train", "did you mean `module=pkg.train`?"),
        ("-m pkg.train", "did you mean `module=pkg.train`?"),
        ("-m tool", "did you mean `module=tool`?"),
        ("pkg.zzzzz", "Python files in"),
        ("tol.py", "did you mean `tool.py`?"),
        ("tool", "did you mean `tool.py`?"),
        ("zzzzzzzz.py", "Python files in"),
        ("pkg/trian.py", "did you mean `pkg/train.py`?"),
        ("empty/train.py", "module=pkg.train"),
        ("absent/train.py", "does not exist either"),
    ],
)
def test_a_missing_script_offers_the_file_or_module_that_was_meant(
    here: Path, name: str, hint: str
) -> None:
    (here / "pkg").mkdir()
    (here / "empty").mkdir()
    for file in ("pkg/__init__.py", "pkg/train.py", "tool.py", "main.py"):
        (here / file).touch()
    message, says = refused(here / name, here)
    assert message == f"the program {here / name} does not exist"
    assert hint in says


def test_a_device_is_refused(here: Path) -> None:
    assert "is not a regular file" in refused(Path("/dev/null"), here)[0]
