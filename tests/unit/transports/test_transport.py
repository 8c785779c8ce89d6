from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launcher.errors import UnknownNameError
from launcher.specs import Node
from launcher.transports import TRANSPORTS, Reach, create

REACH = Reach(
    nodes=(Node(node_rank=0, name="here", address="127.0.0.1", slots=1),), python=sys.executable
)


def test_every_registered_transport_can_be_created() -> None:
    for name in TRANSPORTS.names():
        assert callable(create(name, REACH).start)


def test_an_unknown_transport_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean `local`"):
        create("locale", REACH)


def test_importing_the_registry_imports_no_transport() -> None:
    code = "import launcher.transports, sys; sys.exit('launcher.transports.local' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_only_the_local_transport_stays_on_this_machine() -> None:
    assert [row.name for row in TRANSPORTS.built_in.values() if row.same_machine] == ["local"]


def test_a_transport_of_an_installed_package_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "phone-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: phone\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[launcher.transports]\nphone = phone:ROW\n")
    (tmp_path / "phone.py").write_text(
        "from launcher.transports import TransportRow\n"
        "ROW = TransportRow(name='phone', factory='phone:Phone')\n"
        "class Phone:\n"
        "    def __init__(self, reach):\n"
        "        self.reach = reach\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert create("phone", REACH).reach is REACH  # type: ignore[attr-defined]
