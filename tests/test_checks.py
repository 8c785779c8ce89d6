"""The checks that every change has to pass, as part of the one test command."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from launcher.engines import BACKENDS
from launcher.nodes.source import SOURCES
from launcher.transports import TRANSPORTS

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
SCRIPTS = Path(sysconfig.get_path("scripts"))

CHECKS: dict[str, list[str | Path]] = {
    "formatted": [SCRIPTS / "ruff", "format", "--check", "."],
    "linted": [SCRIPTS / "ruff", "check", "."],
    "typed": [sys.executable, "-m", "mypy"],
    "layered": [SCRIPTS / "lint-imports"],
}


@pytest.mark.process
@pytest.mark.parametrize("name", CHECKS)
def test_the_tree_is(name: str) -> None:
    done = subprocess.run(CHECKS[name], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_of_the_launcher_has_a_room_of_tests() -> None:
    rooms = {
        path.name for path in (ROOT / "launcher").iterdir() if (path / "__init__.py").is_file()
    }
    tested = {path.name for path in (ROOT / "tests" / "unit").iterdir() if path.is_dir()}
    assert rooms <= tested, f"no tests for {sorted(rooms - tested)}"


def test_links_between_the_documents_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not broken, "\n".join(broken)


NAMES = {*SOURCES.built_in, *BACKENDS.built_in, *TRANSPORTS.built_in}
FOREIGN = {
    "launcher/engines/needs.py": "a controller of Horovod",
    "launcher/runtime/environ.py": "names of the variable sets of other launchers",
    "launcher/runtime/engines/horovod.py": "a controller of Horovod",
}


def test_no_room_asks_for_a_source_backend_or_transport_by_its_name() -> None:
    """What depends on the choice is a field of its row: so a new row needs no other change."""
    asks = [
        f"{path}:{node.lineno}"
        for path in sorted((ROOT / "launcher").rglob("*.py"))
        if path.relative_to(ROOT).as_posix() not in FOREIGN
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare)
        for side in (node.left, *node.comparators)
        if isinstance(side, ast.Constant) and side.value in NAMES
    ]
    assert not asks, "\n".join(asks)
