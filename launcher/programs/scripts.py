"""Refuses a `script=` that Python cannot run, with the word to type instead.

Only what no Python could run is refused: the nodes may have a newer one than we. A syntax error is
reported by the ranks.
"""

from __future__ import annotations

import ast
import codecs
import json
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from launcher import units
from launcher.errors import PreflightError, nearest
from launcher.programs.modules import find_module

_SHOWN = 8
_HEAD_BYTES = 4096
_PYTHON = (".py", ".pyw")
_TEXTS = (
    *(".json", ".jsonl", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".env"),
    *(".md", ".rst", ".txt", ".csv", ".tsv", ".log", ".lock"),
)
"""Files of data and text. Some of them are valid Python by chance, and would do nothing."""
_SHELLS = (".sh", ".bash", ".zsh", ".fish", ".ksh", ".csh", ".slurm", ".sbatch")
_BINARIES = {
    b"\x7fELF": "a program for Linux, not for Python",
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
}


def require_script(file: Path, path: Sequence[str]) -> None:
    """Refuse a script that does not exist or is not Python. `path` is the import path.

    Raises:
        PreflightError: it cannot be run; the hint says what to type.
    """
    if file.is_dir():
        raise _is_folder(file, path)
    if not file.exists():
        raise PreflightError(f"the program {file} does not exist", hint=_instead(file, path))
    if not file.is_file():
        raise PreflightError(
            f"the program {file} is not a regular file",
            hint="every rank reads the program: write it to a file",
        )
    if not os.access(file, os.R_OK):
        hint = units.shell_line(("chmod", "+r", str(file)))
        raise PreflightError(f"the program {file} cannot be read", hint=hint)
    problem = _problem(file, path)
    if problem:
        kind, hint = problem
        raise PreflightError(f"the program {file} is {kind}", hint=hint)


def _is_folder(folder: Path, path: Sequence[str]) -> PreflightError:
    what = f"the program {folder} is a folder"
    name = _module_name(folder, path)
    files = _python_files(folder)
    if "__main__.py" in files:
        here = f"module={name}" if name else f"script={folder / '__main__.py'}"
        return PreflightError(what, hint=f"`{here}` runs its `__main__.py`")
    if not files:
        return PreflightError(f"{what} without Python files", hint="give a Python file: script=")
    first = next((each for each in files if each != "__init__.py"), files[0])
    example = f"script={_typed(folder / first, path)}"
    if name and "__init__.py" in files and first != "__init__.py":
        example = f"module={name}.{first.removesuffix('.py')}"
    return PreflightError(what, hint=f"give a file in it, such as `{example}`")


def _instead(file: Path, path: Sequence[str]) -> str:
    module = _as_module(file, path)
    if module:
        return f"did you mean `module={module}`?"
    folder = file.parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist either; check the path"
    files = _python_files(folder)
    near = nearest(file.name, files)
    if near:
        return f"did you mean `{_typed(folder / near, path)}`?"
    listed = ", ".join(files[:_SHOWN])
    return (
        f"Python files in {folder}: {listed}"
        if listed
        else f"{folder} has no Python files; a module of a package is started with module=pkg.train"
    )


def _as_module(file: Path, path: Sequence[str]) -> str:
    """Return the module that was meant by `script=pkg.train` or `script="-m pkg.train"`."""
    name = file.name.removeprefix("-m").strip()
    is_name = re.fullmatch(r"\w+(\.\w+)*", name) and (name != file.name or "." in name)
    if str(file.parent) != path[0] or not is_name:
        return ""
    try:
        return find_module(name, path).name
    except PreflightError:
        return ""


def _problem(file: Path, path: Sequence[str]) -> tuple[str, str] | None:
    """Return what the file is if it is not Python, and what to do."""
    with file.open("rb") as opened:
        head = opened.read(_HEAD_BYTES)
    if not head:
        return "empty", "write the program, or give another file: script="
    if file.suffix == ".ipynb" or _is_notebook(file, head):
        typed = _typed(file, path)
        command = units.shell_line(("jupyter", "nbconvert", "--to", "script", str(typed)))
        return "a notebook", f"convert it: `{command}`, then script={typed.with_suffix('.py')}"
    return _binary(file, head, path) or _text(file, head)


def _binary(file: Path, head: bytes, path: Sequence[str]) -> tuple[str, str] | None:
    # The magic number of every version ends like this.
    if file.suffix == ".pyc" or (head[2:4] == b"\r\n" and b"\0" in head):
        folder = file.parent.parent if file.parent.name == "__pycache__" else file.parent
        source = _typed(folder / f"{file.stem.split('.')[0]}.py", path)
        return "compiled Python", f"give its source file: script={source}"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "in UTF-16, which Python does not read", "save it as UTF-8"
    for magic, kind in _BINARIES.items():
        if head.startswith(magic):
            hint = (
                "unpack it, then give a file in it" if "archive" in kind else "give a Python file"
            )
            return kind, f"{hint}: script="
    if b"\0" in head:
        return "a binary file", "give a Python file: script="
    return None


def _text(file: Path, head: bytes) -> tuple[str, str] | None:
    first = head.partition(b"\n")[0].decode("utf-8", "replace").strip()
    shebang = first if first.startswith("#!") else ""
    other = re.search(r"\b(\w*sh|perl|ruby|node|Rscript|julia)\b", shebang)
    if file.suffix in _TEXTS:
        return "not a Python file", "give a Python file: script=; rename this one if it is Python"
    if (file.suffix in _SHELLS or other) and not _parses(file):
        return (
            f"not Python but a script for {other[1] if other else 'a shell'}",
            "give the Python file that it starts: script=; or run `python -m launcher` in it",
        )
    if file.suffix not in _PYTHON and "python" not in shebang and not _parses(file):
        return "not a Python file", "give a Python file: script=; rename this one if it is Python"
    return None


def _is_notebook(file: Path, head: bytes) -> bool:
    if not head.lstrip().startswith(b"{"):
        return False
    try:
        return "nbformat" in json.loads(file.read_bytes())
    except (ValueError, TypeError):
        return False


def _parses(file: Path) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return False
    except (MemoryError, RecursionError):  # too deep for us; the ranks report it
        return True
    return True


def _python_files(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.glob("*.py"))


def _module_name(folder: Path, path: Sequence[str]) -> str:
    """Return the name of a folder of modules in the current folder, as after `python -m`."""
    cwd = Path(path[0])
    parts = folder.relative_to(cwd).parts if folder.is_relative_to(cwd) else ()
    return ".".join(parts) if all(each.isidentifier() for each in parts) else ""


def _typed(file: Path, path: Sequence[str]) -> Path:
    return file.relative_to(path[0]) if file.is_relative_to(path[0]) else file
