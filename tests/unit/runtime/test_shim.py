"""Programs under the shim, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.specs import RankRecord, RankState, RunLayout, from_json

pytestmark = pytest.mark.process


class Shimmed:
    """A program started under the shim in a run folder of its own."""

    def __init__(self, folder: Path, text: str, *args: str) -> None:
        self.script = folder / "user" / "prog ram.py"
        self.script.parent.mkdir()
        self.script.write_text(textwrap.dedent(text))
        self.layout = RunLayout(folder / "run").attempt(1)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "launcher.runtime", "--", str(self.script), *args],
            env={**os.environ, "LAUNCHER_RUN_DIR": str(folder / "run")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait(self) -> int:
        self.output, _ = self.process.communicate(timeout=30)
        return self.process.returncode

    @property
    def log(self) -> str:
        path = self.layout.rank_log(0, 0)
        return path.read_text() if path.exists() else ""

    @property
    def record(self) -> RankRecord:
        return from_json(RankRecord, self.layout.rank_record(0).read_bytes())

    def wait_for_line(self, line: str) -> None:
        deadline = time.monotonic() + 20
        while line not in self.log:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)


Start = Callable[..., Shimmed]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return lambda text, *args: Shimmed(tmp_path, text, *args)


def test_a_program_sees_what_it_would_see_without_us(start: Start) -> None:
    program = start(
        """
        import os, sys
        assert __name__ == "__main__" and __spec__ is None
        assert sys.argv[1:] == ["--x", "a b"], sys.argv
        assert sys.path[0] == os.path.dirname(os.path.abspath(__file__))
        assert sys.modules["__main__"].__dict__ is globals()
        sys.stdout.write("no newline at the end, ")
        os.system("echo from a child")
        open("/dev/null").close()
        """,
        "--x",
        "a b",
    )
    assert program.wait() == 0, program.log
    assert program.output == b""
    assert program.log.splitlines() == ["from a child"] or "from a child" in program.log
    assert (program.record.state, program.record.exit_code) == (RankState.DONE, 0)


def test_an_exception_is_told_with_the_programs_frames_only(start: Start) -> None:
    program = start("def inner():\n    raise ValueError('bad value')\ninner()\n")
    assert program.wait() == 1
    record = program.record
    assert record.state is RankState.FAILED
    assert record.exception is not None
    assert (record.exception.kind, record.exception.message) == ("ValueError", "bad value")
    assert record.exception.traceback.count("File ") == 2
    assert "launcher" not in record.exception.traceback
    assert record.exception.traceback in program.log


def test_a_syntax_error_shows_the_line(start: Start) -> None:
    program = start("x = (1,\ny = 2\n")
    assert program.wait() == 1
    assert program.record.exception is not None
    assert program.record.exception.kind == "SyntaxError"
    assert "prog ram.py" in program.record.exception.traceback
    assert "runpy" not in program.log


def test_a_missing_script_is_an_exception_of_the_rank(start: Start) -> None:
    program = start("import not_there_at_all\n")
    assert program.wait() == 1
    assert program.record.exception is not None
    assert program.record.exception.kind == "ModuleNotFoundError"


@pytest.mark.parametrize(
    ("code", "expected", "state"),
    [("3", 3, RankState.FAILED), ("0", 0, RankState.DONE), ("'gone'", 1, RankState.FAILED)],
)
def test_exit_codes_go_through(start: Start, code: str, expected: int, state: RankState) -> None:
    program = start(f"import sys\nsys.exit({code})\n")
    assert program.wait() == expected
    assert (program.record.state, program.record.exit_code) == (state, expected)
    assert ("gone" in program.log) == (code == "'gone'")


def test_files_and_exit_handlers_are_finished_as_by_the_interpreter(
    start: Start, tmp_path: Path
) -> None:
    program = start(
        f"""
        import atexit, threading, time
        atexit.register(print, "exit handler ran")
        left_open = open({str(tmp_path / "kept")!r}, "w")
        left_open.write("text")
        def late(): time.sleep(0.2); print("thread finished")
        threading.Thread(target=late).start()
        """
    )
    assert program.wait() == 0
    assert (tmp_path / "kept").read_text() == "text"
    assert program.log.splitlines()[-2:] == ["thread finished", "exit handler ran"]


def test_an_exception_in_a_thread_is_in_the_log(start: Start) -> None:
    program = start(
        "import threading\nt = threading.Thread(target=lambda: 1/0)\nt.start()\nt.join()\n"
    )
    assert program.wait() == 0
    assert "ZeroDivisionError" in program.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_plain_script_ends_on_a_stop_signal_through_its_finally_blocks(
    start: Start, number: signal.Signals
) -> None:
    program = start(
        """
        import time
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            print("cleaned up")
        """
    )
    program.wait_for_line("ready")
    program.process.send_signal(number)
    assert program.wait() == 128 + number
    assert "cleaned up" in program.log
    assert "Traceback" not in program.log
    record = program.record
    assert (record.state, record.signal) == (RankState.FAILED, number)
    assert record.exception is None


def test_a_script_with_its_own_handler_keeps_it(start: Start) -> None:
    program = start(
        """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (print("own handler"), sys.exit(0)))
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    program.wait_for_line("ready")
    program.process.send_signal(signal.SIGTERM)
    assert program.wait() == 0
    assert "own handler" in program.log


def test_stacks_of_all_threads_are_dumped_while_the_program_hangs(start: Start) -> None:
    program = start(
        """
        import threading
        def waits_in_a_thread(): threading.Event().wait()
        threading.Thread(target=waits_in_a_thread, daemon=True).start()
        def waits_for_ever(): threading.Lock().acquire() or lock.acquire()
        lock = threading.Lock(); lock.acquire()
        print("ready", flush=True)
        lock.acquire()
        """
    )
    program.wait_for_line("ready")
    time.sleep(0.1)
    program.process.send_signal(signal.SIGUSR2)
    program.wait_for_line("waits_in_a_thread")
    program.wait_for_line("prog ram.py")
    assert program.process.poll() is None
    program.process.kill()
    program.wait()


def test_workers_of_multiprocessing_obey_only_their_parent(start: Start) -> None:
    program = start(
        """
        import multiprocessing as mp, os, signal, time
        if __name__ == "__main__":
            context = mp.get_context("fork")
            worker = context.Process(target=time.sleep, args=(60,), daemon=True)
            worker.start()
            time.sleep(0.2)
            # Somebody else's signal, as a batch system sends it to every process of a step.
            os.system(f"sh -c 'kill -TERM {worker.pid}; kill -USR1 {worker.pid}'")
            time.sleep(0.2)
            print("alive", worker.is_alive())
            worker.terminate()
            worker.join(10)
            print("exit", worker.exitcode)
            with context.Pool(2) as pool:
                print("pool", pool.map(abs, [-1, -2]))
        """
    )
    assert program.wait() == 0, program.log
    assert program.log.splitlines() == ["alive True", "exit -15", "pool [1, 2]"]


def test_a_forked_child_that_leaves_through_the_shim_does_not_end_the_record(start: Start) -> None:
    program = start(
        """
        import os, sys
        if os.fork() == 0:
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
        """
    )
    assert program.wait() == 0, program.log
    assert program.record.state is RankState.DONE


def test_without_a_run_folder_output_stays_where_it_was(tmp_path: Path) -> None:
    script = tmp_path / "prog.py"
    script.write_text("print('hello')\n")
    environ = {key: value for key, value in os.environ.items() if key != "LAUNCHER_RUN_DIR"}
    found = subprocess.run(
        [sys.executable, "-m", "launcher.runtime", "--", str(script)],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert found.stdout == "hello\n"
    assert [path.name for path in tmp_path.iterdir()] == ["prog.py"]


def test_a_program_stands_where_it_is_told_to_or_in_the_frozen_counterpart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "copy"):
        (tmp_path / name).mkdir()

    def stands(cwd: str) -> tuple[str, str]:
        monkeypatch.setenv("LAUNCHER_CWD", str(tmp_path / cwd))
        folder = tmp_path / f"run in {cwd}"
        folder.mkdir()
        program = Shimmed(folder, "import os; print('stands in', os.path.basename(os.getcwd()))")
        assert program.wait() == 0
        said = program.log
        return said.partition("stands in ")[2].strip(), said

    monkeypatch.setenv("LAUNCHER_FROZEN_CWD", str(tmp_path / "copy" / "ignored"))
    assert stands("here")[0] == "here"
    folder, said = stands("nowhere")
    assert folder == "copy"  # of the folder itself there is no copy
    assert f"{tmp_path}/nowhere does not exist on this node" in said


def test_the_shim_imports_no_torch() -> None:
    code = "import sys, launcher.runtime.shim; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
