"""How Horovod is built, and where what was built is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.engines.install import HorovodBuild

ALONE = HorovodBuild(torch="2.13.0+cpu")
BOTH = HorovodBuild(torch="2.13.0+cpu", mpi="openmpi4.1.8")


def test_a_wheel_is_kept_by_all_that_it_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    others = (HorovodBuild(torch="2.12.0"), HorovodBuild(torch="2.13.0+cpu", mpi="mpich5.0.2"))
    places = {each.wheels for each in (ALONE, BOTH, *others)}
    assert len(places) == 4
    assert all(place.is_relative_to(tmp_path) for place in places)
    assert ALONE.cached is None
    BOTH.wheels.mkdir(parents=True)
    (BOTH.wheels / "horovod.whl").touch()
    assert BOTH.cached == BOTH.wheels / "horovod.whl"


def test_both_controllers_are_built_where_there_is_an_mpi() -> None:
    env = BOTH.environ({"PATH": "/bin", "LDFLAGS": "-s"}, None)
    assert (env["HOROVOD_WITH_GLOO"], env["HOROVOD_WITH_MPI"]) == ("1", "1")
    assert "HOROVOD_WITHOUT_MPI" not in env
    # found beside whichever Python the wheel is installed for
    assert env["LDFLAGS"] == "-s -Wl,-rpath,$ORIGIN/../../../.."
    alone = ALONE.environ({"PATH": "/bin", "HOROVOD_WITH_MPI": "1"}, None)
    assert alone["HOROVOD_WITHOUT_MPI"] == "1"
    assert not alone.keys() & {"HOROVOD_WITH_MPI", "LDFLAGS", "MPI_HOME"}


def test_the_compiler_is_asked_for_the_standard_that_torch_needs_in_one_of_two_ways() -> None:
    assert "-std=c++20" in ALONE.environ({}, None)["CMAKE_CXX_COMPILER_LAUNCHER"]
    wrapped = ALONE.environ({}, Path("/tmp/c++"))
    assert wrapped["CXX"] == "/tmp/c++"
    assert "CMAKE_CXX_COMPILER_LAUNCHER" not in wrapped
