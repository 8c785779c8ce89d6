"""The table of keys in docs/config.md is the schema's.

`LAUNCHER_WRITE_DOCS=1 pytest tests/unit/config/test_docs.py` writes it anew.
"""

from __future__ import annotations

import ast
import dataclasses
import os
import typing
from collections.abc import Iterator
from pathlib import Path

import launcher
from launcher.config.keys import Key, all_keys
from launcher.config.schema import LaunchConfig

PAGE = Path(__file__).parents[3] / "docs" / "config.md"
BEGIN = "<!-- keys: written by tests/unit/config/test_docs.py -->\n"
END = "<!-- end of keys -->\n"


def table() -> str:
    rows = [
        "| key | default | meaning |",
        "| --- | --- | --- |",
        *(f"| `{key.name}` | {_default(key)} | {_meaning(key)} |" for key in all_keys().values()),
    ]
    return "\n".join(rows) + "\n"


def _default(key: Key) -> str:
    if key.default in ("", (), {}, None):
        return ""
    shown = str(key.default)
    return f"`{shown.lower() if isinstance(key.default, bool) else shown}`"


def _meaning(key: Key) -> str:
    choices = f" One of {', '.join(key.choices)}." if key.choices else ""
    return f"{key.help}{choices}".replace("|", "\\|")


def test_the_page_lists_every_key_with_default_and_meaning() -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = f"{before}{BEGIN}{table()}{END}{after}"
    if os.environ.get("LAUNCHER_WRITE_DOCS"):
        PAGE.write_text(wanted)
    assert PAGE.read_text() == wanted, f"accept with: LAUNCHER_WRITE_DOCS=1 pytest {__file__}"


def test_every_key_has_one_line_and_one_help_text() -> None:
    lines = PAGE.read_text().splitlines()
    for name, key in all_keys().items():
        assert sum(line.startswith(f"| `{name}` |") for line in lines) == 1, name
        assert key.help, f"`{name}` needs a docstring under its field"


def test_a_setting_is_declared_by_no_second_class() -> None:
    """A copy of a config class has its own defaults and its own checks, and they drift apart."""
    pieces = list(_config_classes(LaunchConfig))
    own = {(each.__module__, each.__name__) for each in pieces}
    copies = [
        f"{module}.{name} repeats {piece.__name__}"
        for module, name, fields in _dataclasses()
        for piece in pieces
        if (module, name) not in own and (name == piece.__name__ or _repeats(fields, piece))
    ]
    assert copies == []


def _config_classes(kind: type) -> Iterator[type]:
    yield kind
    for hint in typing.get_type_hints(kind).values():
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from _config_classes(hint)


def _repeats(fields: set[str], piece: type) -> bool:
    own = {each.name for each in dataclasses.fields(piece)}
    return len(fields & own) >= max(3, len(own) / 2)


def _dataclasses() -> Iterator[tuple[str, str, set[str]]]:
    """Yield module, name and fields of each dataclass of the launcher, except those of plans."""
    root = Path(launcher.__file__).parent
    for path in root.rglob("*.py"):
        module = ".".join(path.relative_to(root.parent).with_suffix("").parts)
        if module.startswith("launcher.specs."):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.decorator_list:
                names = (each.target for each in node.body if isinstance(each, ast.AnnAssign))
                yield module, node.name, {each.id for each in names if isinstance(each, ast.Name)}
