from __future__ import annotations

import subprocess
import sys

import pytest

from launcher.errors import UnknownNameError
from launcher.transports import TRANSPORTS, create


def test_every_registered_transport_can_be_created() -> None:
    for name in TRANSPORTS:
        assert callable(create(name).start)


def test_an_unknown_transport_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean `local`"):
        create("locale")


def test_importing_the_registry_imports_no_transport() -> None:
    code = "import launcher.transports, sys; sys.exit('launcher.transports.local' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
