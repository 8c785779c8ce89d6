from __future__ import annotations

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
