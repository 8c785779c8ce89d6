from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.errors import PreflightError
from launcher.nodes import NodeNeeds
from launcher.preflight import CHECKS, Problem, Subject, check, checks
from launcher.runs import lock
from launcher.specs import Cluster, Node, Plan, Program, RankRecord, RankState, RunLayout, to_json
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
    assert "cannot write to" in error.message
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


# --- other supervisors
@pytest.mark.process
def test_a_live_supervisor_of_the_same_run_is_named_by_host_and_process(subject: Subject) -> None:
    layout = subject.layout
    layout.path.mkdir(parents=True)
    code = (
        "import sys, time; from launcher.runs import lock; from launcher.specs import *;"
        "from pathlib import Path; lock.beat(RunLayout(Path(sys.argv[1])), attempt=1);"
        "print('ready', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(layout.path)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "ready\n"
        (problem,) = problems_of(checks.supervisor, subject)
        assert f"process {other.pid} on {socket.gethostname()}" in problem.what
        assert "launcher stop r1" in problem.hint
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert problems_of(checks.supervisor, subject) == []


def test_its_own_heartbeat_is_not_another_supervisor(subject: Subject) -> None:
    subject.layout.path.mkdir(parents=True)
    lock.beat(subject.layout, attempt=1)
    assert lock.read_supervisor(subject.layout) is not None
    assert problems_of(checks.supervisor, subject) == []


# --- cores
def cores_of(subject: Subject, source: str, *nodes: Node) -> list[Problem]:
    plan = replace(subject.plan, cluster=Cluster(nodes=nodes, source=source))
    return problems_of(checks.cores, replace(subject, plan=plan))


def node(rank: int, slots: int) -> Node:
    return Node(node_rank=rank, name=f"n{rank}", address="127.0.0.1", slots=slots, cpus=2)


def test_more_ranks_than_this_machine_can_ever_carry_are_refused(subject: Subject) -> None:
    (problem,) = cores_of(subject, "local", node(0, 64 * CORES + 1))
    assert f"{64 * CORES + 1} ranks share {CORES} core" in problem.what
    assert "slots=" in problem.hint
    assert cores_of(subject, "local", node(0, 64 * CORES)) == []


def test_local_nodes_count_together_because_they_are_one_machine(subject: Subject) -> None:
    assert cores_of(subject, "local", *(node(rank, 1) for rank in range(64 * CORES + 1)))


@pytest.mark.parametrize("source", ["hostfile", "slurm"])
def test_other_machines_are_judged_by_their_own_cores(subject: Subject, source: str) -> None:
    (problem,) = cores_of(subject, source, node(0, 1), node(1, 129))
    assert "129 ranks share 2 cores on n1" in problem.what
    assert cores_of(subject, source, node(0, 128)) == []


def test_ranks_on_gpus_are_not_counted_against_cores(subject: Subject) -> None:
    assert cores_of(subject, "slurm", replace(node(0, 200), gpus=("0",))) == []


# --- checkpoints
def saved_at(layout: RunLayout, step: int | None) -> None:
    record = RankRecord(
        rank=0,
        local_rank=0,
        node_rank=0,
        node="local0",
        host="h",
        pid=1,
        attempt=1,
        state=RankState.SAVED,
        started_at=1.0,
        heartbeat_at=1.0,
        progress_at=1.0,
        committed_step=step,
    )
    folder = layout.attempt(1).ranks
    folder.mkdir(parents=True)
    (folder / "0000.json").write_text(to_json(record))


def test_a_new_run_has_nothing_to_miss(subject: Subject) -> None:
    assert problems_of(checks.checkpoints, subject) == []


def test_a_run_that_was_cut_before_its_first_save_may_begin_again(subject: Subject) -> None:
    saved_at(subject.layout, None)
    assert problems_of(checks.checkpoints, subject) == []


def test_lost_checkpoints_are_missed(subject: Subject) -> None:
    saved_at(subject.layout, 32)
    (problem,) = problems_of(checks.checkpoints, subject)
    assert "saved at step 32" in problem.what
    assert "resume=never" in problem.hint


def test_a_new_start_may_ignore_lost_checkpoints(subject: Subject) -> None:
    saved_at(subject.layout, 32)
    never = replace(subject.plan, checkpoint=replace(subject.plan.checkpoint, resume="never"))
    assert problems_of(checks.checkpoints, replace(subject, plan=never)) == []


def test_one_that_is_left_is_enough_even_if_it_is_damaged(subject: Subject) -> None:
    saved_at(subject.layout, 32)
    commits = subject.layout.checkpoints / "commits"
    commits.mkdir(parents=True)
    (commits / "000001-00000032.json").write_text("garbage")
    assert problems_of(checks.checkpoints, subject) == []


@pytest.mark.parametrize("resume", ["required", "12"])
def test_resuming_from_what_was_never_saved_is_refused(subject: Subject, resume: str) -> None:
    """Not every program looks for checkpoints, so the ranks cannot be relied on to say it."""
    plan = replace(subject.plan, checkpoint=replace(subject.plan.checkpoint, resume=resume))
    (problem,) = problems_of(checks.checkpoints, replace(subject, plan=plan))
    assert f"resume={resume}" in problem.what


@pytest.mark.process
def test_checking_imports_no_torch() -> None:
    code = "import launcher.preflight, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
