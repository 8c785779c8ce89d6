from __future__ import annotations

import subprocess
import sys

import pytest

from launcher.errors import UnknownNameError
from launcher.specs import Node
from launcher.transports import TRANSPORTS, Reach, create

REACH = Reach(
    nodes=(Node(node_rank=0, name="here", address="127.0.0.1", slots=1),), python=sys.executable
)


def test_every_registered_transport_can_be_created() -> None:
    for name in TRANSPORTS:
        assert callable(create(name, REACH).start)


def test_an_unknown_transport_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean `local`"):
        create("locale", REACH)


def test_importing_the_registry_imports_no_transport() -> None:
    code = "import launcher.transports, sys; sys.exit('launcher.transports.local' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
