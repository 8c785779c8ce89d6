"""What every transport must do, over all of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.errors import PreflightError
from launcher.specs import Command, Node
from launcher.transports import TRANSPORTS, Process, Reach, Transport, create
from tests.contract.loopback import LoopbackSshd, why_not

HURTFUL = (
    "plain",
    "two words",
    'double "quotes"',
    "single 'quotes'",
    "semi;colon",
    "$(touch owned)",
    "`touch owned`",
    "$HOME",
    "new\nline",
    "tab\there",
    "back\\slash",
    "*",
    "~",
    "ünïcödé 模型 🚀",
    "",
    "--flag=a b",
    "#comment",
    "&& false",
    "no \udcff utf-8",
)

Start = Callable[..., Process]


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackSshd]:
    if reason := why_not():
        pytest.skip(reason)
    with LoopbackSshd(tmp_path_factory.mktemp("sshd"), ["loop"]) as server:
        yield server


@pytest.fixture
def local() -> Node:
    return Node(node_rank=3, name="here", address="127.0.0.1", slots=1)


@pytest.fixture
def ssh(sshd: LoopbackSshd, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setenv("PATH", f"{sshd.bin}:{os.environ['PATH']}")
    return Node(node_rank=3, name="looping", address="127.0.0.1", ssh="loop", slots=1)


@pytest.fixture
def srun() -> Node:
    return Node(node_rank=3, name=os.environ["SLURMD_NODENAME"], address="127.0.0.1", slots=1)


# `tests/cluster` runs this suite once more, in a job of Slurm's.
HERE = sorted(set(TRANSPORTS.built_in) - ({"srun"} if "SLURM_JOB_ID" not in os.environ else set()))


@pytest.fixture(params=HERE)
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    """Every transport, each to one node, which is this machine."""
    node = request.getfixturevalue(request.param)
    with contextlib.closing(
        create(request.param, Reach(nodes=(node,), python=sys.executable))
    ) as transport:
        yield transport


@pytest.fixture
def start(transport: Transport, tmp_path: Path) -> Iterator[Start]:
    """Start Python code through the transport; whatever is left at the end is killed."""
    started: list[Process] = []

    def start_python(
        code: str,
        *args: str,
        env: dict[str, str] | None = None,
        cwd: Path = tmp_path,
    ) -> Process:
        command = Command(
            node_rank=3, argv=(sys.executable, "-c", code, *args), env=env or {}, cwd=str(cwd)
        )
        process = transport.start([command], logs={3: tmp_path / "logs" / "out.log"})[3]
        started.append(process)
        return process

    yield start_python
    for process in started:
        process.kill()
        process.wait(5)


def output_of(tmp_path: Path) -> str:
    return (tmp_path / "logs" / "out.log").read_text(encoding="utf-8")


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@pytest.mark.parametrize("code", [0, 1, 75, 255])
def test_exit_codes_arrive(start: Start, code: int) -> None:
    assert start(f"raise SystemExit({code})").wait(10) == code


def test_death_by_signal_is_told_as_its_negative_number(start: Start) -> None:
    process = start("import os; os.kill(os.getpid(), 9)")
    assert process.wait(10) == -9
    assert process.poll() == -9


def test_a_running_process_has_no_exit_code_yet(start: Start) -> None:
    process = start("import time; time.sleep(60)")
    assert process.poll() is None
    assert process.wait(0.05) is None


def test_stdout_and_stderr_end_in_the_log_in_order(start: Start, tmp_path: Path) -> None:
    code = (
        "import sys; print('one', flush=True); print('two', file=sys.stderr, flush=True);"
        "print('three')"
    )
    start(code).wait(10)
    assert output_of(tmp_path).split() == ["one", "two", "three"]


def test_a_second_start_appends_to_the_log(start: Start, tmp_path: Path) -> None:
    start("print('first')").wait(10)
    start("print('second')").wait(10)
    assert output_of(tmp_path).split() == ["first", "second"]


def test_arguments_that_hurt_arrive_unchanged(start: Start, tmp_path: Path) -> None:
    start("import json, sys; print(json.dumps(sys.argv[1:]))", *HURTFUL).wait(10)
    assert json.loads(output_of(tmp_path)) == list(HURTFUL)
    assert not (tmp_path / "owned").exists()


def test_the_environment_is_inherited_with_ours_on_top(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_LT_INHERITED", "yes")
    monkeypatch.setenv("LT_COMMAND", "inherited")
    start(
        "import json, os;"
        "print(json.dumps({k: v for k, v in os.environ.items() if 'LT_' in k[:9]}))",
        env={"LT_COMMAND": 'from "the" $command', "LT_EXTRA": "extra\nline"},
    ).wait(10)
    assert json.loads(output_of(tmp_path)) == {
        "TORCH_LT_INHERITED": "yes",
        "LT_COMMAND": 'from "the" $command',
        "LT_EXTRA": "extra\nline",
    }


def test_it_runs_in_the_folder_of_the_command(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "a 'strange' $folder"
    folder.mkdir()
    start("import os; print(os.getcwd())", cwd=folder).wait(10)
    assert output_of(tmp_path).rstrip("\n") == str(folder)


def test_it_reads_nothing_from_our_terminal(start: Start) -> None:
    assert start("import sys; sys.exit(len(sys.stdin.read()))").wait(10) == 0


def test_signals_reach_the_started_process_alone(start: Start, tmp_path: Path) -> None:
    code = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
signal.signal(signal.SIGTERM, lambda *_: (print("told", child.poll(), flush=True), os._exit(7)))
print("ready", child.pid, flush=True)
time.sleep(60)
"""
    process = start(code)
    wait_until(lambda: "ready" in output_of(tmp_path))
    process.signal(signal.SIGTERM)
    assert process.wait(10) == 7
    assert "told None" in output_of(tmp_path)


def test_signalling_an_ended_process_does_nothing(start: Start) -> None:
    process = start("pass")
    process.wait(10)
    process.signal(signal.SIGTERM)
    process.kill()
    process.kill()
    assert process.poll() == 0


def test_kill_ends_the_whole_tree_even_if_it_ignores_sigterm(start: Start, tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    code = (
        "import subprocess, sys; "
        + deaf
        + f"child = subprocess.Popen([sys.executable, '-c', {deaf + 'time.sleep(60)'!r}]); "
        "print('ready', child.pid, flush=True); time.sleep(60)"
    )
    process = start(code)
    wait_until(lambda: output_of(tmp_path).endswith("\n"))
    child = int(output_of(tmp_path).split()[1])
    process.signal(signal.SIGTERM)
    assert process.wait(0.2) is None
    process.kill()
    assert process.wait(10) == -9
    wait_until(lambda: not is_running(child))


def test_kill_ends_children_whose_parent_has_left(start: Start, tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; "
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
    )
    process = start(code)
    assert process.wait(10) == 0
    orphan = int(output_of(tmp_path))
    assert is_running(orphan)
    process.kill()
    wait_until(lambda: not is_running(orphan))


def test_ctrl_c_of_our_terminal_does_not_reach_it(start: Start) -> None:
    process = start("import time; time.sleep(60)")
    assert os.getpgid(process.pid) != os.getpgid(0)
    assert os.getsid(process.pid) != os.getsid(0)


def test_it_is_told_who_started_it(start: Start, tmp_path: Path) -> None:
    start("import os; print(os.environ['LAUNCHER_PARENT_PID'], os.getppid())").wait(10)
    told, parent = output_of(tmp_path).split()
    assert told == parent


def test_a_missing_program_is_told_in_words(transport: Transport, tmp_path: Path) -> None:
    command = Command(node_rank=3, argv=("/no/such/python", "x"), cwd=str(tmp_path))
    with pytest.raises(PreflightError, match=r"node 3.* cannot start `/no/such/python`"):
        transport.start([command], logs={3: tmp_path / "out.log"})


def test_a_missing_folder_is_told_in_words(transport: Transport, tmp_path: Path) -> None:
    command = Command(node_rank=3, argv=(sys.executable,), cwd=str(tmp_path / "gone"))
    with pytest.raises(PreflightError) as caught:
        transport.start([command], logs={3: tmp_path / "out.log"})
    assert "gone" in caught.value.context
    assert "mkdir" in caught.value.hint


ECHO = "import json, sys; print(json.dumps({'got': json.load(sys.stdin)}))"


def test_every_node_answers_its_own_request(transport: Transport) -> None:
    answer = transport.ask(ECHO, {3: {"text": HURTFUL[5]}}, timeout_s=30)[3]
    assert answer.value == {"got": {"text": HURTFUL[5]}}
    assert answer.problem == ""


def test_a_large_answer_arrives_whole(transport: Transport) -> None:
    source = "import json; print(json.dumps({'text': chr(34) * 500_000 + chr(92) * 500_000}))"
    answer = transport.ask(source, {3: {}}, timeout_s=60)[3]
    assert answer.value == {"text": '"' * 500_000 + "\\" * 500_000}


def test_a_node_that_does_not_answer_in_time_has_a_problem(transport: Transport) -> None:
    answer = transport.ask("import time; time.sleep(600)", {3: {}}, timeout_s=1)[3]
    assert answer.value is None
    assert answer.problem == "no answer within 1 s"


@pytest.mark.parametrize("source", ["print('no json')", "import sys; sys.exit('broken')"])
def test_a_question_that_fails_is_a_problem_and_no_exception(
    transport: Transport, source: str
) -> None:
    answer = transport.ask(source, {3: {}}, timeout_s=30)[3]
    assert answer.value is None
    assert answer.problem
