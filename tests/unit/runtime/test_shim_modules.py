"""A module runs in a rank as under `python -m`: same output, same exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.specs import RunLayout

pytestmark = pytest.mark.process

FILES = {
    "pkg/__init__.py": "import sys\nprint('package', sys.argv, __name__)\n",
    "pkg/helper.py": "VALUE = 7\n",
    "pkg/__main__.py": "from . import helper\nprint(__name__, __package__, helper.VALUE)\n",
    "pkg/train.py": """
import multiprocessing, os, pickle, sys
from . import helper
from pkg.helper import VALUE
import beside

class Thing:
    pass

def work(queue):
    queue.put((helper.VALUE, __name__, Thing.__module__))

if __name__ == "__main__":
    print(sys.argv, sys.path[0], os.getcwd(), __file__, __cached__, type(__loader__))
    print(__package__, __spec__.name, __spec__.parent, __spec__.origin)
    print(sys.modules["__main__"].__dict__ is globals(), "pkg.train" in sys.modules)
    print(pickle.dumps(Thing()))
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=work, args=(queue,))
    worker.start()
    print("spawned", queue.get())
    worker.join()
    print(worker.exitcode)
""",
    "beside.py": "",
    "pkg/again.py": "import os, sys\nprint(sys.argv, sys.orig_argv)\n"
    "if len(sys.orig_argv) > 3:\n"
    "    sys.stdout.flush()\n"
    "    os.execv(sys.executable, sys.orig_argv[:3])\n",
    "pkg/names.py": "print(sorted((n, type(v).__name__) for n, v in globals().copy().items()))\n",
    "pkg/fails.py": "def f():\n    raise ValueError('bad')\nf()\n",
    "pkg/leaves.py": "import sys\nsys.exit(3)\n",
    "pkg/syntax.py": "x = (\n",
    "pkg/mains.py": "import __main__\nprint(__main__.__spec__.name, __main__.__file__)\n",
    "names/train.py": "from .helper import VALUE\nprint(VALUE, __package__)\n",
    "names/helper.py": "VALUE = 8\n",
    "broken/__init__.py": "raise ValueError('broken package')\n",
    "broken/train.py": "",
    "lacks/__init__.py": "import not_there_at_all\n",
    "lacks/train.py": "",
    "my-tool.py": "print(__name__, repr(__package__))\n",
}
WAYS = {
    "alone": ("launcher.runtime",),
    "guard": ("launcher.runtime.guard",),
    "agent": ("launcher.runtime.agent", "--rdzv-endpoint", "127.0.0.1:0"),
}
MODULES = [
    *("pkg.train", "pkg", "pkg.names", "pkg.again", "names.train", "my-tool", "json.tool"),
    *("pkg.fails", "pkg.leaves", "pkg.syntax", "pkg.mains"),
    *("absent", "pkg.absent", "names", "broken.train", "lacks.train", "pkg.train.x"),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "project"


def run(project: Path, words: tuple[str, ...], **variables: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=project,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    # The caller of a module is `runpy` in one case, and the shim in the other.
    return done.returncode, re.sub(r'  File "<frozen runpy>", .*\n', "", done.stdout)


def as_a_rank(project: Path, way: str, module: str, **variables: str) -> tuple[int, str]:
    place = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    run_dir = project.parent / way
    words = ("-m", *WAYS[way], "--", "-m", module, "--lr", "a b")
    code, _ = run(project, words, LAUNCHER_RUN_DIR=str(run_dir), **place, **variables)
    log = RunLayout(run_dir).attempt(1).rank_log(0, 0)
    return code, re.sub(r'  File "<frozen runpy>", .*\n', "", log.read_text())


@pytest.mark.parametrize("module", MODULES)
def test_a_module_runs_as_under_plain_python(project: Path, module: str) -> None:
    plain = run(project, ("-m", module, "--lr", "a b"))
    assert as_a_rank(project, "alone", module) == plain
    assert as_a_rank(project, "guard", module) == plain


def test_a_module_runs_in_the_rank_that_the_agent_forked(project: Path) -> None:
    plain = run(project, ("-m", "pkg.train", "--lr", "a b"))
    assert as_a_rank(project, "agent", "pkg.train") == plain


def test_a_module_of_the_code_snapshot_is_imported_from_the_copy(project: Path) -> None:
    """On a node that has the folder of the user, and on one that does not."""
    copy = project.parent / "copy"
    project.rename(copy)
    (project / "pkg").mkdir(parents=True)
    (project / "pkg" / "train.py").write_text("print('edited')\n")
    (project / "beside.py").write_text("print('edited')\n")
    for cwd in (project, project.parent / "absent"):
        code, output = as_a_rank(
            project,
            "alone",
            "pkg.train",
            LAUNCHER_CWD=str(cwd),
            LAUNCHER_FROZEN_CWD=str(copy),
            LAUNCHER_IMPORT_FOLDER=str(copy),
        )
        assert code == 0, output
        assert "edited" not in output
        assert f"{copy}/pkg/train.py" in output
        assert "spawned (7, '__mp_main__', '__mp_main__')" in output


def test_a_folder_that_is_gone_is_not_on_the_path(project: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"import os, runpy, sys; os.rmdir({str(gone)!r}); sys.argv = ['x', '--', '-m', 'this']; "
    code += "runpy.run_module('launcher.runtime', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=gone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Zen of Python" in done.stdout


@pytest.mark.parametrize("words", [(), ("--",), ("--", "-m")])
def test_without_a_program_the_usage_is_shown(tmp_path: Path, words: tuple[str, ...]) -> None:
    code, output = run(tmp_path, ("-m", "launcher.runtime", *words))
    assert code == 2
    assert "-- -m MODULE [args ...]" in output
