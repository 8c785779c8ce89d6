"""The guard of the markers, tried in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[1]

CONFTEST = """
from tests.marker_guard import MarkerGuard

def pytest_configure(config):
    for name in ("process", "extras"):
        config.addinivalue_line("markers", f"{name}: as in this repository")
    config.pluginmanager.register(MarkerGuard())
"""

STARTS = {
    "subprocess": "import subprocess; subprocess.run(['true'], check=True)",
    "fork": "import os\n    pid = os.fork()\n    os.waitpid(pid, 0) if pid else os._exit(0)",
    "shell": "import os; os.system('true')",
    "spawn": "import multiprocessing as m\n    p = m.get_context('spawn').Process(target=print)\n"
    "    p.start(); p.join()",
    "thread": "import threading, subprocess\n    t = threading.Thread(target=subprocess.run,"
    " args=(['true'],))\n    t.start(); t.join()",
    "swallowed": "import subprocess\n    try: subprocess.run(['no-such-program'])\n"
    "    except OSError: pass",
}


def run(folder: Path, body: str, mark: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(f"import pytest\n{mark}\ndef test_it():\n    {body}\n")
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null"),
            *("--rootdir", str(folder), "-o", f"pythonpath={ROOT}", str(folder)),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("how", STARTS)
def test_a_test_that_starts_a_process_unmarked_fails(tmp_path: Path, how: str) -> None:
    done = run(tmp_path, STARTS[how])
    assert done.returncode == 1, done.stdout + done.stderr
    assert "mark it with @pytest.mark.process" in done.stdout


def test_a_marked_test_may_start_processes(tmp_path: Path) -> None:
    done = run(tmp_path, STARTS["subprocess"], "@pytest.mark.process")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_test_that_starts_nothing_passes(tmp_path: Path) -> None:
    assert run(tmp_path, "assert True").returncode == 0


SKIPS = "pytest.skip('needs ssh: apt-get install openssh-server')"


def test_a_skip_until_something_is_installed_needs_its_marker(tmp_path: Path) -> None:
    done = run(tmp_path, SKIPS)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "mark it with @pytest.mark.extras" in done.stdout


def test_other_skips_and_marked_ones_stay_skips(tmp_path: Path) -> None:
    assert run(tmp_path, SKIPS, "@pytest.mark.extras").returncode == 0
    assert run(tmp_path, "pytest.skip('root reads everything')").returncode == 0
