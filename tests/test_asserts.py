"""Every test asserts something: itself, or through a helper in the tests tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
OF_PYTEST = {"raises", "warns", "fail"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def functions(root: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(root) if isinstance(node, Function))


@cache
def methods() -> dict[str, list[tuple[Path, Function]]]:
    """Find the methods of the classes in the tests tree, by name."""
    found: dict[str, list[tuple[Path, Function]]] = {}
    for file in TESTS.rglob("*.py"):
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.ClassDef):
                for method in functions(node):
                    found.setdefault(method.name, []).append((file, method))
    return found


def visible_from(file: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield the files whose helpers `file` can call by name, each with the one name it imports."""
    yield file, None
    for folder in file.parents:
        if (folder / "conftest.py").is_file():
            yield folder / "conftest.py", None
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests."):
            source = ROOT / f"{str(node.module).replace('.', '/')}.py"
            if source.is_file():
                yield from ((source, alias.name) for alias in node.names)


def helpers(file: Path, call: ast.Call) -> Iterator[tuple[Path, Function]]:
    """Yield the functions of the tests tree that `call` may mean."""
    match call.func:
        case ast.Name(id=name):
            for source, only in visible_from(file):
                if only in (None, name):
                    found = (each for each in functions(tree(source)) if each.name == name)
                    yield from ((source, each) for each in found)
        case ast.Attribute(attr=name):
            yield from methods().get(name, [])


def is_assertion(node: ast.AST) -> bool:
    match node:
        case ast.Assert():
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id="pytest"), attr=name)):
            return name in OF_PYTEST
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            return name.startswith("assert_")
    return False


def asserts(file: Path, function: Function, seen: frozenset[str] = frozenset()) -> bool:
    """Whether `function` asserts, itself or through a helper."""
    nodes = list(ast.walk(function))
    if any(is_assertion(node) for node in nodes):
        return True
    seen |= {function.name}
    return any(
        asserts(source, helper, seen)
        for node in nodes
        if isinstance(node, ast.Call)
        for source, helper in helpers(file, node)
        if helper.name not in seen
    )


def without_assertion(file: Path) -> list[str]:
    return [
        f"{file}:{function.lineno} {function.name}"
        for function in functions(tree(file))
        if function.name.startswith("test_") and not asserts(file, function)
    ]


def test_every_test_asserts_something() -> None:
    files = sorted(TESTS.rglob("test_*.py"))
    empty = [test for file in files for test in without_assertion(file)]
    assert not empty, "these tests cannot fail:\n" + "\n".join(empty)


@pytest.mark.parametrize(
    ("body", "is_empty"),
    [
        ("    call()", True),
        ("    work()", True),
        ("    subprocess.run([])", True),
        ("    assert call()", False),
        ("    with pytest.raises(OSError):\n        call()", False),
        ("    torch.testing.assert_close(1, 1)", False),
        ("    check()", False),
        ("    through()", False),
    ],
)
def test_a_test_without_an_assertion_is_found(tmp_path: Path, body: str, is_empty: bool) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(
        "def work():\n    return 1\n"
        "def check():\n    assert call()\n"
        "def through():\n    check()\n"
        f"def test_it():\n{body}\n"
    )
    assert bool(without_assertion(file)) == is_empty
