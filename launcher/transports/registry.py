"""Which transports there are, by name. Imported only when used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from launcher.errors import UnknownNameError
from launcher.transports.transport import Transport

TRANSPORTS: Mapping[str, str] = MappingProxyType(
    {
        "local": "launcher.transports.local:LocalTransport",
    }
)
"""Name -> `module:class`; the class is called without arguments."""


def create(name: str) -> Transport:
    """Return a new transport called `name`.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in TRANSPORTS:
        raise UnknownNameError("transport", name, TRANSPORTS)
    module, _, kind = TRANSPORTS[name].partition(":")
    return cast("Transport", getattr(importlib.import_module(module), kind)())
