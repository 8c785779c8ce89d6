from __future__ import annotations

import subprocess
import sys

import pytest

# Limits belong to a process, and only root could raise ours again.
LIMITED = """
import resource, sys
from launcher.errors import PreflightError
from launcher.transports.open_files import make_room
soft, hard, links = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
try:
    make_room(links)
except PreflightError as error:
    sys.exit(f"{error.message}; {error.hint}")
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limited(soft: int, hard: int, links: int) -> subprocess.CompletedProcess[str]:
    words = (sys.executable, "-c", LIMITED, str(soft), str(hard), str(links))
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("soft", "hard", "links", "after"),
    [(1000, 1000, 200, (1000, 1000)), (512, 1000, 200, (856, 1000)), (300, 1000, 4, (300, 1000))],
)
def test_the_limit_is_raised_as_far_as_needed(
    soft: int, hard: int, links: int, after: tuple[int, int]
) -> None:
    assert limited(soft, hard, links).stdout.strip() == str(after)


def test_a_limit_that_cannot_be_raised_is_told_before_anything_starts() -> None:
    done = limited(300, 300, 64)
    assert "64 nodes take 448 open files, and this process may have 300" in done.stderr
    assert "ulimit -Hn" in done.stderr
