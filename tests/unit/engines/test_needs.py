"""What an engine needs, asked without importing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launcher.engines import require
from launcher.engines.needs import MARKER
from launcher.errors import EngineMissingError

pytestmark = pytest.mark.process


def bare_python(folder: Path) -> str:
    """Return an interpreter that has nothing installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "v")], check=True)
    return str(folder / "v" / "bin" / "python")


@pytest.mark.parametrize(
    ("backend", "missing", "installs"),
    [
        ("torchrun", "torch", "pip install torch"),
        ("mpi", "mpi4py", "pip install 'hydra-torch-launcher[mpi]'"),
        ("mpi", "mpirun", "pip install 'hydra-torch-launcher[mpi]'"),
        ("horovod", "horovod", "python -m launcher.engines install horovod"),
        ("horovod_mpi", "horovod", "python -m launcher.engines install horovod --with-mpi"),
    ],
)
def test_a_missing_engine_names_what_is_missing_and_the_command_that_installs_it(
    tmp_path: Path, backend: str, missing: str, installs: str
) -> None:
    code = (
        "import sys; from launcher.engines import require\n"
        "from launcher.errors import EngineMissingError\n"
        "try: require(sys.argv[1])\n"
        "except EngineMissingError as e: print(e.exit_code, e.message, '|', e.hint)"
    )
    done = subprocess.run(
        [bare_python(tmp_path), "-c", code, backend],
        env={"PATH": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    message, hint = done.stdout.split("|")
    assert message.startswith("2 ")
    assert missing in message
    assert installs in hint


def test_a_horovod_linked_with_mpi_needs_it_even_where_mpi_is_not_used(tmp_path: Path) -> None:
    """It would not load: better a sentence than the dynamic linker's."""
    built = tmp_path / "horovod" / "torch"
    built.mkdir(parents=True)
    for path in (tmp_path / "horovod" / "__init__.py", built / "mpi_lib_v2.so"):
        path.touch()
    (tmp_path / "horovod" / MARKER).write_text('{"torch": "", "controllers": "gloo+mpi"}')
    code = (
        "from launcher.engines import needs\nprint(*(what for what, _ in needs.horovod()), sep=',')"
    )
    done = subprocess.run(
        [bare_python(tmp_path), "-c", code],
        env={"PATH": str(tmp_path), "PYTHONPATH": f"{Path(__file__).parents[3]}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"mpi4py", "mpirun"} <= set(done.stdout.strip().split(","))


def test_another_interpreter_is_not_inspected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.engines.needs.torch", lambda: iter([("torch", "pip")]))
    with pytest.raises(EngineMissingError):
        require("torchrun")
    require("torchrun", "/another/python")


def test_asking_imports_no_engine() -> None:
    code = (
        "import sys; from launcher.engines import BACKENDS\n"
        "from launcher.extensions import load\n"
        "for row in BACKENDS.built_in.values(): list(load(row.missing)())\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'mpi4py', 'horovod')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
