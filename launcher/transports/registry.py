"""Which transports there are, by name. Imported only when used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from launcher.errors import UnknownNameError
from launcher.transports.transport import Reach, Transport

TRANSPORTS: Mapping[str, str] = MappingProxyType(
    {
        "local": "launcher.transports.local:LocalTransport",
        "ssh": "launcher.transports.ssh:SshTransport",
        "srun": "launcher.transports.srun:SrunTransport",
    }
)
"""Name -> `module:class`; the class is called with a `Reach`."""


def create(name: str, reach: Reach) -> Transport:
    """Return a new transport called `name` to the nodes of `reach`.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in TRANSPORTS:
        raise UnknownNameError("transport", name, TRANSPORTS)
    module, _, kind = TRANSPORTS[name].partition(":")
    return cast("Transport", getattr(importlib.import_module(module), kind)(reach))
