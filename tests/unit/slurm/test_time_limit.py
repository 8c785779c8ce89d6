from __future__ import annotations

import pytest

from launcher.slurm.time_limit import EarlyWarning, limit_s, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("UNLIMITED", None),
        ("infinite", None),
        ("90", 5400),
        ("1:30", 90),
        ("1:30:00", 5400),
        ("2-0", 172800),
        ("2-12", 216000),
        ("2-12:30", 217800),
        ("2-12:30:15", 217815),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(text: str, seconds: int | None) -> None:
    assert limit_s(text) == seconds


@pytest.mark.parametrize(
    ("save_s", "grace_s", "limit_s", "signal_s", "ranks_get"),
    [
        (None, 60, None, 90, 60),  # no save yet: the grace period, and time to exit
        (5, 60, None, 90, 60),
        (100, 60, None, 330, 300),  # three times the longest save so far
        (None, 10, None, 60, 10),  # Slurm checks only this often
        (100, 60, 3600, 330, 300),
        (100, 60, 600, 300, 300),  # half of the time at most: else it would only save
        (None, 60, 60, 30, 60),
    ],
)
def test_the_warning_leaves_time_to_save(
    save_s: float | None, grace_s: float, limit_s: int | None, signal_s: int, ranks_get: float
) -> None:
    found = size(save_s=save_s, grace_s=grace_s, limit_s=limit_s)
    assert found == EarlyWarning(signal_s=signal_s, grace_s=ranks_get)
