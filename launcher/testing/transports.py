"""What every transport must do: start, signal, kill and ask, on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from launcher import processes
from launcher.errors import PreflightError
from launcher.specs import Command, Node
from launcher.transports import Process, Reach, Transport, create

__all__ = ["TransportContract"]

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
"""Arguments that a shell, a quoting mistake or an encoding would change."""
_ECHO = "import json, sys; print(json.dumps({'got': json.load(sys.stdin)}))"
_READY = (
    "import json, sys; sys.stdin.readline(); print('ready', flush=True); "
    "print(json.dumps({'ready': json.loads(sys.stdin.readline())}))"
)

Start = Callable[..., Process]


class TransportContract:
    """Subclass it as `class TestMine(TransportContract)`, and set `transport`.

    The one node of the suite is this machine, so that files and processes can be looked at.
    Override the fixture `node` if the transport needs more than its address.
    """

    transport: ClassVar[str]
    """The name of the row."""

    @pytest.fixture
    def node(self) -> Node:
        """Return this machine, as the transport reaches it. Its `node_rank` is 3."""
        return Node(node_rank=3, name="here", address="127.0.0.1", slots=1)

    @pytest.fixture
    def connection(self, node: Node) -> Iterator[Transport]:
        reach = Reach(nodes=(node,), python=sys.executable)
        with contextlib.closing(create(self.transport, reach)) as transport:
            yield transport

    @pytest.fixture
    def start(self, connection: Transport, tmp_path: Path) -> Iterator[Start]:
        """Start Python code through the transport; what is left at the end is killed."""
        started: list[Process] = []

        def start_python(
            code: str, *args: str, env: dict[str, str] | None = None, cwd: Path = tmp_path
        ) -> Process:
            argv = (sys.executable, "-c", code, *args)
            command = Command(node_rank=3, argv=argv, env=env or {}, cwd=str(cwd))
            process = connection.start([command], logs={3: tmp_path / "logs" / "out.log"})[3]
            started.append(process)
            return process

        yield start_python
        for process in started:
            process.kill()
            process.wait(5)

    @pytest.mark.parametrize("code", [0, 1, 75, 255])
    def test_exit_codes_arrive(self, start: Start, code: int) -> None:
        assert start(f"raise SystemExit({code})").wait(60) == code

    def test_death_by_signal_is_reported_as_its_negative_number(self, start: Start) -> None:
        process = start("import os; os.kill(os.getpid(), 9)")
        assert process.wait(60) == -9
        assert process.poll() == -9

    def test_a_running_process_has_no_exit_code_yet(self, start: Start) -> None:
        process = start("import time; time.sleep(60)")
        assert process.poll() is None
        assert process.wait(0.05) is None

    def test_stdout_and_stderr_end_in_the_log_in_order(self, start: Start, tmp_path: Path) -> None:
        code = (
            "import sys; print('one', flush=True); print('two', file=sys.stderr, flush=True);"
            "print('three')"
        )
        start(code).wait(60)
        assert _output_of(tmp_path).split() == ["one", "two", "three"]

    def test_a_second_start_appends_to_the_log(self, start: Start, tmp_path: Path) -> None:
        start("print('first')").wait(60)
        start("print('second')").wait(60)
        assert _output_of(tmp_path).split() == ["first", "second"]

    def test_arguments_that_hurt_arrive_unchanged(self, start: Start, tmp_path: Path) -> None:
        start("import json, sys; print(json.dumps(sys.argv[1:]))", *HURTFUL).wait(60)
        assert json.loads(_output_of(tmp_path)) == list(HURTFUL)
        assert not (tmp_path / "owned").exists()

    def test_the_environment_is_inherited_with_ours_on_top(
        self, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TORCH_LT_INHERITED", "yes")
        monkeypatch.setenv("LT_COMMAND", "inherited")
        start(
            "import json, os;"
            "print(json.dumps({k: v for k, v in os.environ.items() if 'LT_' in k[:9]}))",
            env={"LT_COMMAND": 'from "the" $command', "LT_EXTRA": "extra\nline"},
        ).wait(60)
        assert json.loads(_output_of(tmp_path)) == {
            "TORCH_LT_INHERITED": "yes",
            "LT_COMMAND": 'from "the" $command',
            "LT_EXTRA": "extra\nline",
        }

    def test_it_runs_in_the_folder_of_the_command(self, start: Start, tmp_path: Path) -> None:
        folder = tmp_path / "a 'strange' $folder"
        folder.mkdir()
        start("import os; print(os.getcwd())", cwd=folder).wait(60)
        assert _output_of(tmp_path).rstrip("\n") == str(folder)

    def test_it_reads_nothing_from_our_terminal(self, start: Start) -> None:
        assert start("import sys; sys.exit(len(sys.stdin.read()))").wait(60) == 0

    def test_signals_reach_the_started_process_alone(self, start: Start, tmp_path: Path) -> None:
        code = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
signal.signal(signal.SIGTERM, lambda *_: (print("child", child.poll(), flush=True), os._exit(7)))
print("ready", child.pid, flush=True)
time.sleep(60)
"""
        process = start(code)
        _wait_until(lambda: "ready" in _output_of(tmp_path))
        process.signal(signal.SIGTERM)
        assert process.wait(60) == 7
        assert "child None" in _output_of(tmp_path)

    def test_signalling_an_ended_process_does_nothing(self, start: Start) -> None:
        process = start("pass")
        process.wait(60)
        process.signal(signal.SIGTERM)
        process.kill()
        process.kill()
        assert process.poll() == 0

    def test_kill_ends_the_whole_tree_even_if_it_ignores_sigterm(
        self, start: Start, tmp_path: Path
    ) -> None:
        deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        code = (
            "import subprocess, sys; "
            + deaf
            + f"child = subprocess.Popen([sys.executable, '-c', {deaf + 'time.sleep(60)'!r}]); "
            "print('ready', child.pid, flush=True); time.sleep(60)"
        )
        process = start(code)
        _wait_until(lambda: _output_of(tmp_path).endswith("\n"))
        child = int(_output_of(tmp_path).split()[1])
        process.signal(signal.SIGTERM)
        assert process.wait(0.2) is None
        process.kill()
        assert process.wait(60) == -9
        _wait_until(lambda: not _is_running(child))

    def test_kill_ends_children_whose_parent_has_left(self, start: Start, tmp_path: Path) -> None:
        code = (
            "import subprocess, sys; "
            "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)"
        )
        process = start(code)
        assert process.wait(60) == 0
        orphan = int(_output_of(tmp_path))
        assert _is_running(orphan)
        process.kill()
        _wait_until(lambda: not _is_running(orphan))

    def test_ctrl_c_of_our_terminal_does_not_reach_it(self, start: Start) -> None:
        process = start("import time; time.sleep(60)")
        assert os.getpgid(process.pid) != os.getpgid(0)
        assert os.getsid(process.pid) != os.getsid(0)

    def test_it_knows_who_started_it(self, start: Start, tmp_path: Path) -> None:
        start("import os; print(os.environ['LAUNCHER_PARENT_PID'], os.getppid())").wait(60)
        from_environment, parent = _output_of(tmp_path).split()
        assert from_environment == parent

    def test_a_missing_program_is_reported_with_the_node(
        self, connection: Transport, tmp_path: Path
    ) -> None:
        command = Command(node_rank=3, argv=("/no/such/python", "x"), cwd=str(tmp_path))
        with pytest.raises(PreflightError, match=r"node 3.* cannot start `/no/such/python`"):
            connection.start([command], logs={3: tmp_path / "out.log"})

    def test_a_missing_folder_is_reported_with_what_to_do(
        self, connection: Transport, tmp_path: Path
    ) -> None:
        command = Command(node_rank=3, argv=(sys.executable,), cwd=str(tmp_path / "gone"))
        with pytest.raises(PreflightError) as caught:
            connection.start([command], logs={3: tmp_path / "out.log"})
        assert "gone" in caught.value.context
        assert "mkdir" in caught.value.hint

    def test_modules_of_the_current_folder_disturb_no_question(
        self, connection: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "json.py").write_text("raise RuntimeError('imported the json.py of the user')")
        monkeypatch.chdir(tmp_path)
        answer = connection.ask(_ECHO, {3: {"text": "x"}}, timeout_s=30)[3]
        assert answer.problem == ""

    def test_every_node_answers_its_own_request(self, connection: Transport) -> None:
        answer = connection.ask(_ECHO, {3: {"text": HURTFUL[5]}}, timeout_s=30)[3]
        assert answer.value == {"got": {"text": HURTFUL[5]}}
        assert answer.problem == ""

    def test_a_large_answer_arrives_whole(self, connection: Transport) -> None:
        source = "import json; print(json.dumps({'text': chr(34) * 500_000 + chr(92) * 500_000}))"
        answer = connection.ask(source, {3: {}}, timeout_s=60)[3]
        assert answer.value == {"text": '"' * 500_000 + "\\" * 500_000}

    def test_a_node_that_does_not_answer_in_time_has_a_problem(self, connection: Transport) -> None:
        answer = connection.ask("import time; time.sleep(600)", {3: {}}, timeout_s=1)[3]
        assert answer.value is None
        assert answer.problem == "no answer within 1 s"

    def test_the_nodes_of_a_question_can_wait_for_each_other(self, connection: Transport) -> None:
        answer = connection.ask(_READY, {3: {}}, timeout_s=30, ready_within_s=30)[3]
        assert answer.value == {"ready": [3]}

    def test_a_node_that_is_not_ready_in_time_has_a_problem(self, connection: Transport) -> None:
        sleeps = "import time; time.sleep(600)"
        answer = connection.ask(sleeps, {3: {}}, timeout_s=1, ready_within_s=1)[3]
        assert answer.value is None
        assert answer.problem

    @pytest.mark.parametrize("source", ["print('no json')", "import sys; sys.exit('broken')"])
    def test_a_question_that_fails_is_a_problem_and_no_exception(
        self, connection: Transport, source: str
    ) -> None:
        answer = connection.ask(source, {3: {}}, timeout_s=30)[3]
        assert answer.value is None
        assert answer.problem


def _output_of(tmp_path: Path) -> str:
    return (tmp_path / "logs" / "out.log").read_text(encoding="utf-8")


def _wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    return processes.find(pid) is not None
