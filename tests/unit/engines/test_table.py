"""One row per backend: the plan, the ranks and the checks read it, and so do other packages."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import config
from launcher.engines import BACKENDS, Backend, BackendRequest, commands, require
from launcher.errors import EngineMissingError, UnknownNameError
from launcher.extensions import load
from launcher.runtime.environ import RankEnviron
from launcher.specs import Cluster, Node, Program, Rendezvous

ROW = """
from launcher.engines import Backend
from launcher.engines.table import Variables

ROW = Backend(
    name="flux",
    commands="flux_backend:commands",
    environ=(Variables(
        name="flux",
        rank="FLUX_TASK_RANK",
        world_size="FLUX_JOB_SIZE",
        local_rank="FLUX_TASK_LOCAL_ID",
        local_world_size="FLUX_LOCAL_SIZE",
    ),),
    connect="flux_backend:connect",
    missing="flux_backend:missing",
    packages=("flux-python",),
)

def commands(request):
    return tuple(request.command(node, ("flux", "run")) for node in request.cluster.nodes)

def connect(place, launch, device):
    return "connected"

def missing():
    yield "flux-python", "pip install flux-python"
"""


@pytest.fixture
def flux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package that adds the backend `flux`."""
    info = tmp_path / "flux_backend-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flux-backend\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[launcher.engines]\nflux = flux_backend:ROW\n")
    (tmp_path / "flux_backend.py").write_text(ROW)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "flux_backend", raising=False)


def request() -> BackendRequest:
    return BackendRequest(
        run_id="r",
        cluster=Cluster(
            source="local", nodes=(Node(node_rank=0, name="n0", address="a", slots=1),)
        ),
        program=Program(path="/p.py"),
        rendezvous=Rendezvous(address="a", port=1),
        python="/py",
        cwd="/",
        env={0: {}},
    )


@pytest.mark.parametrize("row", BACKENDS.built_in.values(), ids=list(BACKENDS.built_in))
def test_every_function_that_a_row_names_exists(row: Backend) -> None:
    assert callable(load(row.commands))
    assert callable(load(row.missing))
    module, _, function = row.connect.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    assert f"def {function}(" in Path(spec.origin).read_text()  # importing it needs its engine


@pytest.mark.process
def test_reading_the_table_imports_no_engine() -> None:
    code = (
        "import sys; from launcher.engines import BACKENDS; list(BACKENDS.built_in.values())\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'mpi4py', 'horovod')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_backend_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="unknown backend `torch_run`") as caught:
        commands("torch_run", request())
    assert "did you mean `torchrun`?" in caught.value.hint


@pytest.mark.usefixtures("flux")
def test_a_backend_of_an_installed_package_starts_its_ranks() -> None:
    (command,) = commands("flux", request())
    assert command.argv == ("flux", "run")


@pytest.mark.usefixtures("flux")
def test_a_rank_of_an_installed_backend_reads_its_place_and_connects() -> None:
    from launcher.runtime.engines import connect
    from launcher.runtime.environ import LaunchEnviron

    environ = {"LAUNCHER_BACKEND": "flux", "FLUX_TASK_RANK": "1", "FLUX_JOB_SIZE": "2", "RANK": "7"}
    place = RankEnviron.from_environ(environ)
    assert (place.rank, place.world_size, place.set_by) == (1, 2, "flux")
    launch = LaunchEnviron.from_environ(environ)
    assert connect(place, launch, None) == "connected"  # type: ignore[arg-type,comparison-overlap]


@pytest.mark.usefixtures("flux")
def test_what_an_installed_backend_needs_is_checked() -> None:
    with pytest.raises(EngineMissingError, match="backend=flux needs flux-python") as caught:
        require("flux")
    assert caught.value.hint == "pip install flux-python"


@pytest.mark.usefixtures("flux")
def test_an_installed_backend_needs_no_file_of_ours(tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    overrides = ("recipe=script", "script=train.py", "backend=flux")
    assert config.load(overrides, cwd=tmp_path).backend.name == "flux"


@pytest.mark.parametrize("backend", ["torchrun", "mpi", "horovod", "horovod_mpi"])
def test_every_backend_runs_a_module_as_after_python(backend: str) -> None:
    nodes = (Node(node_rank=0, name="n0", address="127.0.0.1", slots=1),)
    (command,) = commands(
        backend,
        BackendRequest(
            run_id="r",
            cluster=Cluster(source="local", nodes=nodes),
            program=Program(path="/code/pkg/train.py", module="pkg.train", args=("-m", "--x")),
            rendezvous=Rendezvous(address="127.0.0.1", port=1),
            python="/py",
            cwd="/",
            env={0: {}},
        ),
    )
    assert command.argv[-5:] == ("--", "-m", "pkg.train", "-m", "--x")
