"""How Horovod is built, and where the wheel is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.engines.install import build_environ, wheel_folder

COMPILER = Path("/tmp/c++")


def test_a_wheel_is_kept_by_everything_that_it_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    builds = (("2.13.0", ""), ("2.13.0", "openmpi4.1.8"), ("2.12.0", ""), ("2.13.0", "mpich5.0.2"))
    folders = {wheel_folder(torch, mpi) for torch, mpi in builds}
    assert len(folders) == 4
    assert all(folder.is_relative_to(tmp_path) for folder in folders)


def test_both_controllers_are_built_where_there_is_an_mpi() -> None:
    env = build_environ({"PATH": "/bin", "LDFLAGS": "-s"}, "openmpi4.1.8", COMPILER)
    assert (env["HOROVOD_WITH_GLOO"], env["HOROVOD_WITH_MPI"]) == ("1", "1")
    assert "HOROVOD_WITHOUT_MPI" not in env
    # found beside whichever Python the wheel is installed for
    assert env["LDFLAGS"] == "-s -Wl,-rpath,$ORIGIN/../../../.."


def test_without_an_mpi_only_gloo_is_built_whatever_the_shell_says() -> None:
    inherited = {"PATH": "/bin", "HOROVOD_WITH_MPI": "1", "HOROVOD_WITHOUT_GLOO": "1"}
    env = build_environ(inherited, "", COMPILER)
    assert (env["HOROVOD_WITH_GLOO"], env["HOROVOD_WITHOUT_MPI"]) == ("1", "1")
    assert not env.keys() & {"HOROVOD_WITH_MPI", "HOROVOD_WITHOUT_GLOO", "LDFLAGS", "MPI_HOME"}
