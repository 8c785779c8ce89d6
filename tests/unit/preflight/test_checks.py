from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.errors import PreflightError
from launcher.nodes import NodeNeeds
from launcher.preflight import CHECKS, Problem, Subject, check, checks
from launcher.specs import Plan, Program, RunLayout
from tests.unit.preflight.conftest import needs_of

CORES = len(os.sched_getaffinity(0))


def problems_of(find: Callable[[Subject], Iterable[Problem]], subject: Subject) -> list[Problem]:
    return list(find(subject))


def error_of(plan: Plan, layout: RunLayout, needs: NodeNeeds) -> PreflightError:
    with pytest.raises(PreflightError) as caught:
        check(plan, layout=layout, needs=needs)
    assert caught.value.exit_code == 3
    return caught.value


def test_a_sound_plan_passes_every_check_and_leaves_nothing_behind(
    plan: Plan, layout: RunLayout, needs: NodeNeeds
) -> None:
    results = check(plan, layout=layout, needs=needs)
    assert [each.name for each in results] == [each.name for each in CHECKS]
    assert not any(each.problems for each in results)
    assert list(Path(plan.storage_root).iterdir()) == []


def test_problems_of_the_run_and_of_the_machine_are_reported_together(
    plan: Plan, layout: RunLayout, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    broken = replace(plan, program=Program(path=str(tmp_path / "trian.py")))
    error = error_of(broken, layout, needs_of(str(tmp_path / "file" / "outputs")))
    assert error.message == "2 checks failed; nothing was started"
    for text in ("not a folder", f"did you mean `{tmp_path / 'train.py'}`?"):
        assert text in error.context


# --- this machine
def test_a_storage_root_that_is_a_file_is_not_writable(
    plan: Plan, layout: RunLayout, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    error = error_of(plan, layout, needs_of(str(tmp_path / "file")))
    assert "cannot use" in error.message
    assert "storage.root=" in error.hint


def test_too_little_disk_names_how_much_is_there(plan: Plan, layout: RunLayout) -> None:
    error = error_of(plan, layout, needs_of(plan.storage_root, min_free_gb=1e9))
    assert error.message.startswith("this machine: only ")
    assert "are free in storage.root" in error.message
    assert "preflight.min_free_gb=" in error.hint


def test_a_pinned_port_in_use_is_an_error(plan: Plan, layout: RunLayout, needs: NodeNeeds) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        error = error_of(plan, layout, needs_of(plan.storage_root, port=port))
        assert f"port {port} is in use" in error.message
        assert "cluster.port=" in error.hint


def test_cuda_without_a_gpu_is_refused(
    plan: Plan, layout: RunLayout, needs: NodeNeeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has a driver")
    monkeypatch.setenv("PATH", "/nowhere")
    error = error_of(replace(plan, device="cuda"), layout, needs)
    assert "no GPU is visible" in error.message
    assert "device=cpu" in error.hint


@pytest.mark.process
def test_an_interpreter_that_does_not_exist_is_named(plan: Plan, layout: RunLayout) -> None:
    error = error_of(plan, layout, needs_of(plan.storage_root, python="/no/python"))
    assert "/no/python" in error.message
    assert "cluster.python=" in error.hint


def test_other_machines_are_not_asked_again(subject: Subject) -> None:
    elsewhere = replace(subject.plan, cluster=replace(subject.plan.cluster, source="hostfile"))
    assert problems_of(checks.this_machine, replace(subject, plan=elsewhere)) == []


# --- the program
def test_a_program_that_is_a_folder_is_refused(subject: Subject, tmp_path: Path) -> None:
    plan = replace(subject.plan, program=Program(path=str(tmp_path)))
    (problem,) = problems_of(checks.program, replace(subject, plan=plan))
    assert "is a folder" in problem.what


def test_a_missing_program_without_a_near_name_lists_the_python_files(
    subject: Subject, tmp_path: Path
) -> None:
    plan = replace(subject.plan, program=Program(path=str(tmp_path / "zzz")))
    (problem,) = problems_of(checks.program, replace(subject, plan=plan))
    assert "train.py" in problem.hint


def test_an_unreadable_program_is_refused(subject: Subject) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    Path(subject.plan.program.path).chmod(0)
    (problem,) = problems_of(checks.program, subject)
    assert "cannot be read" in problem.what
