from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from launcher.errors import ConfigError
from launcher.supervise import SuperviseConfig


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("max_restarts=-1", lambda: SuperviseConfig(max_restarts=-1)),
        ("grace_s=-1.0", lambda: SuperviseConfig(grace_s=-1.0)),
        ("hang_timeout_s=-0.5", lambda: SuperviseConfig(hang_timeout_s=-0.5)),
        ("lost_after_s=0.9", lambda: SuperviseConfig(lost_after_s=0.9)),
    ],
)
def test_an_impossible_value_is_refused_with_its_key(
    key: str, make: Callable[[], SuperviseConfig]
) -> None:
    with pytest.raises(ConfigError, match=f"supervise.{key}"):
        make()


@pytest.mark.process
def test_reading_the_configuration_imports_nothing_else_of_the_supervisor() -> None:
    code = (
        "import launcher.supervise.config, sys;"
        "sys.exit('launcher.supervise.supervisor' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
