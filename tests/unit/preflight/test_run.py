from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.errors import PreflightError
from launcher.nodes import PreflightConfig
from launcher.preflight import Check, Moment, Trouble, check
from launcher.preflight.check import Subject
from launcher.preflight.run import CHECKS
from launcher.runs import lock
from launcher.specs import (
    CheckpointPolicy,
    Cluster,
    Command,
    Node,
    Plan,
    Program,
    Rendezvous,
    RunLayout,
)

_NOT_STRICT = PreflightConfig(min_free_gb=0)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    program = tmp_path / "train.py"
    program.write_text("pass\n")
    node = Node(node_rank=0, name="local0", address="127.0.0.1", slots=1)
    return Plan(
        run_id="r1",
        attempt=1,
        recipe="script",
        storage_root=str(tmp_path / "outputs"),
        cluster=Cluster(nodes=(node,), source="local"),
        backend="torchrun",
        transport="local",
        python="python3",
        device="cpu",
        program=Program(path=str(program)),
        rendezvous=Rendezvous(address="127.0.0.1", port=1),
        checkpoint=CheckpointPolicy(every_steps=0, keep=2, resume="auto"),
        commands=(Command(node_rank=0, argv=(sys.executable, "x"), cwd=str(tmp_path)),),
    )


def layout_of(plan: Plan) -> RunLayout:
    return RunLayout.of(plan.storage_root, plan.run_id)


def trouble_of(plan: Plan, config: PreflightConfig = _NOT_STRICT) -> PreflightError:
    with pytest.raises(PreflightError) as caught:
        check(plan, layout=layout_of(plan), config=config)
    assert caught.value.exit_code == 3
    return caught.value


def test_a_sound_plan_passes_every_check_and_leaves_nothing_behind(plan: Plan) -> None:
    results = check(plan, layout=layout_of(plan), config=_NOT_STRICT)
    assert [each.name for each in results] == [each.name for each in CHECKS]
    assert not any(each.trouble for each in results)
    assert list(Path(plan.storage_root).iterdir()) == []


def test_all_failures_are_told_at_once_each_with_what_to_do(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    broken = replace(
        plan,
        storage_root=str(tmp_path / "file" / "outputs"),
        program=Program(path=str(tmp_path / "trian.py")),
        commands=(Command(node_rank=0, argv=("/no/python",), cwd="/"),),
    )
    error = trouble_of(broken)
    assert error.message == "3 checks failed; nothing was started"
    for text in ("not a folder", f"did you mean `{tmp_path / 'train.py'}`?", "cluster.python="):
        assert text in error.context


def test_a_storage_root_that_is_a_file_is_not_writable(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = trouble_of(replace(plan, storage_root=str(tmp_path / "file")))
    assert "cannot write to" in error.message
    assert "storage.root=" in error.hint


def test_too_little_disk_names_how_much_is_there(plan: Plan) -> None:
    error = trouble_of(plan, PreflightConfig(min_free_gb=1e9))
    assert "GB are free" in error.message
    assert "preflight.min_free_gb=" in error.hint


def test_a_pinned_port_in_use_is_an_error(plan: Plan) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        meet = Rendezvous(address="127.0.0.1", port=port, pinned=True)
        error = trouble_of(replace(plan, rendezvous=meet))
        assert f"port {port}" in error.message
        assert "in use" in error.message
        assert "cluster.port=" in error.hint
        # a port that we chose ourselves is another's to replace
        check(plan, layout=layout_of(plan), config=_NOT_STRICT)


@pytest.mark.process
def test_cuda_without_a_driver_is_told(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has a driver")
    monkeypatch.setenv("PATH", "/nowhere")
    assert "device=cpu" in trouble_of(replace(plan, device="cuda")).hint


def test_a_program_that_is_a_folder_is_told(plan: Plan, tmp_path: Path) -> None:
    error = trouble_of(replace(plan, program=Program(path=str(tmp_path))))
    assert "is a folder" in error.message


def test_a_missing_program_without_a_near_name_lists_the_python_files(
    plan: Plan, tmp_path: Path
) -> None:
    error = trouble_of(replace(plan, program=Program(path=str(tmp_path / "zzz"))))
    assert "train.py" in error.hint


@pytest.mark.process
def test_a_live_supervisor_of_the_same_run_is_named_by_host_and_process(plan: Plan) -> None:
    layout = layout_of(plan)
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
        error = trouble_of(plan)
        assert f"process {other.pid} on {socket.gethostname()}" in error.message
        assert "launcher stop r1" in error.hint
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    check(plan, layout=layout, config=_NOT_STRICT)  # dead: nobody is in the way


def test_its_own_heartbeat_is_not_in_the_way(plan: Plan) -> None:
    layout = layout_of(plan)
    layout.path.mkdir(parents=True)
    lock.beat(layout, attempt=1)
    assert lock.read_supervisor(layout) is not None
    check(plan, layout=layout, config=_NOT_STRICT)


def test_a_check_that_never_answers_is_left_behind_and_told(plan: Plan) -> None:
    over = threading.Event()

    def hang(subject: Subject) -> Trouble | None:
        assert over.wait(60), "the caller waited for the check"
        return None

    slow = Check(name="slow", moments=frozenset(Moment), ask=hang)
    with pytest.raises(PreflightError, match=r"no answer within 0\.1 s"):
        check(plan, layout=layout_of(plan), checks=[slow], timeout_s=0.1)
    over.set()


def test_a_check_that_breaks_is_one_trouble_among_the_others(plan: Plan) -> None:
    def broken(subject: Subject) -> Trouble | None:
        raise RuntimeError("oops")

    def other(subject: Subject) -> Trouble | None:
        return Trouble(what="other trouble", hint="do that")

    checks = [
        Check(name="broken", moments=frozenset(Moment), ask=broken),
        Check(name="other", moments=frozenset(Moment), ask=other),
    ]
    with pytest.raises(PreflightError) as caught:
        check(plan, layout=layout_of(plan), checks=checks)
    assert "RuntimeError: oops" in caught.value.context
    assert "other trouble" in caught.value.context


def test_checks_are_asked_only_at_their_moment(plan: Plan) -> None:
    late = check(plan, layout=layout_of(plan), config=_NOT_STRICT, moment=Moment.BEFORE_START)
    names = {each.name for each in late}
    assert "port" in names
    assert "storage" not in names


@pytest.mark.process
def test_checking_imports_no_torch(plan: Plan) -> None:
    code = "import launcher.preflight, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unreadable_program_is_told(plan: Plan) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    Path(plan.program.path).chmod(0)
    assert "cannot be read" in trouble_of(plan).message
