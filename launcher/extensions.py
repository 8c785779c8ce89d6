"""Tables of what can be chosen by name: our own rows, and those of other installed packages.

Sources, engines, transports and fetchers each have one table, and each row holds everything that
the launcher must know about that choice. A package adds a row with an entry point of the table's
group; see `docs/extending.md`. The shape follows fsspec's registry and TorchX's scheduler groups.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from launcher.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Row", "Table", "load"]


class Row(Protocol):
    """One choice. A frozen dataclass of plain values, so that reading a table imports nothing."""

    @property
    def name(self) -> str:
        """What the user types."""


R = TypeVar("R", bound=Row)


class Table(Generic[R]):
    """The rows of one extension point.

    Installed packages are searched only for a name that is not built in: that search reads the
    metadata of every package in the environment.
    """

    def __init__(self, kind: str, rows: Iterable[R], *, row_type: type[R], group: str = "") -> None:
        self.kind = kind
        """The word for one row in messages: `cluster`, `backend`, `transport`, `fetcher`."""
        self.group = group or f"launcher.{row_type.__name__.lower()}s"
        """Entry point group: by default `launcher.sources` for rows of type `Source`."""
        self.built_in: Mapping[str, R] = MappingProxyType({row.name: row for row in rows})
        self._row_type = row_type

    def __getitem__(self, name: str) -> R:
        """Return the row called `name`.

        Raises:
            UnknownNameError: no row has this name; the hint offers the nearest one.
            ConfigError: an installed package declares the row, and it cannot be loaded.
        """
        if name in self.built_in:
            return self.built_in[name]
        declared = self.declared()
        if name not in declared:
            raise UnknownNameError(self.kind, name, (*self.built_in, *declared))
        return self._loaded(declared[name])

    def __contains__(self, name: str) -> bool:
        return name in self.built_in or name in self.declared()

    def names(self) -> tuple[str, ...]:
        """Return every name, sorted, including those of installed packages."""
        return tuple(sorted({*self.built_in, *self.declared()}))

    def declared(self) -> dict[str, EntryPoint]:
        """Return the entry points of installed packages by name, not loaded."""
        from importlib.metadata import entry_points  # noqa: PLC0415 - 20 ms that few commands need

        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=self.group):
            if point.name in self.built_in or point.name in found:
                raise ConfigError(
                    f"two packages provide {self.kind} `{point.name}`",
                    context=f"one of them is `{_package(point)}` (entry point {point.value})",
                    hint=f"rename its entry point in the group `{self.group}`, or uninstall it",
                )
            found[point.name] = point
        return found

    def _loaded(self, point: EntryPoint) -> R:
        try:
            row = point.load()
        except Exception as error:
            raise ConfigError(
                f"cannot load {self.kind} `{point.name}` of the package `{_package(point)}`",
                context=f"{point.value}: {type(error).__name__}: {error}",
                hint="fix or uninstall that package",
            ) from error
        if not isinstance(row, self._row_type) or row.name != point.name:
            raise ConfigError(
                f"the package `{_package(point)}` declares an invalid {self.kind} `{point.name}`",
                context=f"{point.value}: expected a {self._row_type.__name__} with "
                f"name={point.name!r}, got {row!r:.200}",
                hint="fix or uninstall that package; docs/extending.md shows a valid one",
            )
        return row


def load(path: str) -> Any:
    """Return the object at `module:name`, or the module if there is no `:name`.

    Raises:
        ImportError: the module, or one that it imports, is not installed.
        ConfigError: the module has no such name.
    """
    module, _, name = path.partition(":")
    found = importlib.import_module(module)
    if name and not hasattr(found, name):
        raise ConfigError(
            f"`{path}` does not exist: the module has no `{name}`",
            hint="fix or uninstall the package that names it in its row",
        )
    return getattr(found, name) if name else found


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown"
