"""Import-linter contracts that name who is allowed, so they cover a new room from its first day.

The built-in `forbidden` type needs a list of all other rooms, and such a list is soon incomplete.
`pyproject.toml` says which rules hold; `tests/test_imports.py` plants imports that break them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

Edge = tuple[str, str]


class AllowList(Contract):
    """A contract that finds forbidden imports in the import graph."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find the forbidden imports, with the lines that make them."""
        found = [
            f"{importer} -> {imported} (line {detail['line_number']})"
            for importer, imported in sorted(self.forbidden(graph))
            for detail in graph.get_import_details(importer=importer, imported=imported)
        ]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print the forbidden imports."""
        for line in check.metadata["found"]:
            output.print_error(f"- {line}", bold=False)
        output.new_line()

    def forbidden(self, graph: ImportGraph) -> Iterator[Edge]:
        """Yield the imports that the contract does not allow."""
        raise NotImplementedError


class OnlyImporters(AllowList):
    """Only `importers` may import `imported` directly; `imported` may import itself."""

    type_name = "only_importers"
    imported: Any = fields.ListField(subfield=fields.StringField())
    importers: Any = fields.ListField(subfield=fields.StringField())

    def forbidden(self, graph: ImportGraph) -> Iterator[Edge]:
        """Yield each import of `imported` from elsewhere."""
        allowed = [*existing(graph, self.importers), *self.imported]
        for importer, imported in edges(graph):
            if within(imported, self.imported) and not within(importer, allowed):
                yield importer, imported


class OnlyImports(AllowList):
    """`modules` may import only themselves and `may_import`.

    The single modules in `without` are neither checked nor free to import, unless `may_import`
    lists them. Other libraries are free, unless `libraries` lists the only ones that are allowed.
    """

    type_name = "only_imports"
    modules: Any = fields.ListField(subfield=fields.StringField())
    without: Any = fields.ListField(subfield=fields.StringField(), required=False)
    may_import: Any = fields.ListField(subfield=fields.StringField())
    libraries: Any = fields.ListField(subfield=fields.StringField(), required=False)

    def forbidden(self, graph: ImportGraph) -> Iterator[Edge]:
        """Yield each import that no list allows."""
        checked = existing(graph, self.modules)
        allowed = existing(graph, self.may_import)
        without = existing(graph, self.without or ())
        for importer, imported in edges(graph):
            if not within(importer, checked) or importer in without or within(imported, allowed):
                continue
            is_own = within(imported, checked) and imported not in without
            is_library = graph.is_module_squashed(imported)
            is_free = is_library and (self.libraries is None or within(imported, self.libraries))
            if not is_own and not is_free:
                yield importer, imported


def edges(graph: ImportGraph) -> Iterator[Edge]:
    """Yield each direct import as (importer, imported)."""
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            yield importer, imported


def within(module: str, packages: Iterable[str]) -> bool:
    """Whether `module` is one of `packages` or lies in one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def existing(graph: ImportGraph, names: Iterable[str]) -> list[str]:
    """Return `names`, or fail: after a rename, a stale name would allow or check nothing."""
    missing = sorted(set(names) - graph.modules)
    if missing:
        raise ValueError(f"pyproject.toml names modules that do not exist: {', '.join(missing)}")
    return list(names)
