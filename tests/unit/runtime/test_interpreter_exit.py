"""A program ends in a rank as it ends under plain Python: same exit code, same output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher.runtime.interpreter_exit import exit_code_of
from launcher.specs import RankRecord, RankState, RunLayout, from_json

AGENT = ("launcher.runtime.agent", "--rdzv-endpoint", "127.0.0.1:0")
GUARD = ("launcher.runtime.guard",)
ALONE = ("launcher.runtime",)

PROGRAMS = {
    "open replaced": """
        import builtins, io, pathlib
        def broken(*args, **kwargs): raise RuntimeError("no files here")
        builtins.open = io.open = pathlib.Path.open = os.open = os.replace = os.write = broken
        print("ok")
        """,
    "functions of the record replaced": """
        import dataclasses, json, time, traceback
        def broken(*args, **kwargs): raise RuntimeError("replaced")
        time.time = time.monotonic = time.sleep = json.dumps = json.loads = broken
        dataclasses.replace = dataclasses.fields = broken
        os.fsync = os.close = os.unlink = os.rename = os.getpid = os.urandom = broken
        print("ok")
        """,
    "functions of the record replaced, exception": """
        import json, re, time, traceback
        def broken(*args, **kwargs): raise RuntimeError("replaced")
        time.time = time.monotonic = json.dumps = traceback.format_exception = broken
        os.replace = os.write = os.fsync = os.open = open = broken
        raise ValueError("bad")
        """,
    "names at the start": """
        kinds = {name: type(value).__name__ for name, value in globals().items()}
        print(sorted(kinds.items()), __name__, __doc__, __package__, __spec__, __annotations__)
        __builtins__.profile = lambda function: function
        print(profile(7))
        """,
    "started again": """
        if "again" not in os.environ:
            os.environ["again"] = "yes"
            os.execv(sys.executable, sys.orig_argv)
        print(sys.argv, sys.orig_argv, __file__)
        sys.exit(4)
        """,
    "started again, in a child": """
        import subprocess
        if "again" not in os.environ:
            subprocess.run(sys.orig_argv, env={**os.environ, "again": "yes"}, check=True)
        print(sys.argv, __file__)
        """,
    # streams
    "stdout closed": "print('x'); sys.stdout.close()",
    "stdout is None": "print('x'); sys.stdout = None",
    "stdout is a closed file": "print('x'); f = open(os.devnull, 'w'); sys.stdout = f; f.close()",
    "stdout deleted": "del sys.stdout, sys.stderr",
    "stdout detached": "raw = sys.stdout.detach()",
    "stdout without flush": "class Tee:\n    def write(self, text): pass\nsys.stdout = Tee()",
    "stdout whose flush raises": """
        class Tee:
            def write(self, text): pass
            def flush(self): raise ValueError("no flush")
            def __repr__(self): return "<Tee>"
        sys.stdout = Tee()
        """,
    "stdout whose flush exits": """
        class Tee:
            def flush(self): sys.exit(3)
            def __repr__(self): return "<Tee>"
        sys.stdout = Tee()
        """,
    "stdout whose closed raises": """
        class Tee:
            closed = property(lambda self: 1 / 0)
            def flush(self): pass
        sys.stdout = Tee()
        """,
    "stdout is a full disk": "sys.stdout = open('/dev/full', 'w'); print('x')",
    "stdout is a broken pipe": """
        reader, writer = os.pipe()
        os.close(reader)
        sys.stdout = open(writer, "w")
        print("x")
        """,
    "stderr whose flush raises": """
        class Silent:
            def write(self, text): pass
            def flush(self): raise ValueError
        sys.stderr = Silent()
        """,
    "stderr closed": "sys.stderr.close()",
    "stderr is None": "sys.stderr = None",
    "descriptors closed": "os.close(1); os.close(2)",
    "print to a closed descriptor": "os.close(1); print('x')",
    "stdout is stderr": "sys.stdout = sys.stderr; print('x'); sys.stderr.close()",
    # exceptions
    "exception": "def f():\n    raise ValueError('bad')\nf()",
    "exception, stderr closed": "sys.stderr.close(); 1 / 0",
    "exception, stderr None": "sys.stderr = None; 1 / 0",
    "exception, stdout closed": "sys.stdout.close(); 1 / 0",
    "exception, stdout whose flush raises": """
        class Tee:
            def flush(self): raise ValueError("no flush")
            def __repr__(self): return "<Tee>"
        sys.stdout = Tee()
        1 / 0
        """,
    "exception that cannot be printed": """
        class Odd(Exception):
            def __str__(self): raise SystemExit(4)
        raise Odd()
        """,
    "exception in a folder that is gone": """
        import tempfile
        folder = tempfile.mkdtemp(); os.chdir(folder); os.rmdir(folder)
        1 / 0
        """,
    "excepthook raises": "sys.excepthook = lambda *a: {}['key']; raise ValueError('bad')",
    "excepthook exits": "sys.excepthook = lambda *a: sys.exit(9); raise ValueError('bad')",
    "excepthook deleted": "del sys.excepthook; raise ValueError('bad')",
    "excepthook is None": "sys.excepthook = None; raise ValueError('bad')",
    "excepthook prints": "sys.excepthook = lambda *a: print('hook', a[0]); raise ValueError('bad')",
    "last exception is known to exit handlers": """
        import atexit
        atexit.register(lambda: print(sys.last_type, sys.last_value))
        raise ValueError("bad")
        """,
    "interrupted": "raise KeyboardInterrupt",
    "generator exit": "raise GeneratorExit",
    # sys.exit
    "exit": "sys.exit()",
    "exit with a bool": "sys.exit(True)",
    "exit with False": "sys.exit(False)",
    "exit with a negative number": "sys.exit(-3)",
    "exit with a number above 255": "sys.exit(259)",
    "exit with 2**64": "sys.exit(2**64)",
    "exit with -2**70": "sys.exit(-2**70)",
    "exit with 2**40": "sys.exit(2**40)",
    "exit with a float": "sys.exit(0.0)",
    "exit with a text": "sys.exit('gone')",
    "exit with a tuple": "sys.exit((1, 2))",
    "exit with a text, stderr closed": "sys.stderr.close(); sys.exit('gone')",
    "exit with a text, stderr None": "sys.stderr = None; sys.exit('gone')",
    "exit with an object that cannot be printed": """
        class Odd:
            def __str__(self): raise ValueError("no")
        sys.exit(Odd())
        """,
    "exit of a subclass without a code": """
        class Odd(SystemExit):
            code = property(lambda self: 1 / 0)
        raise Odd(5)
        """,
    "sys.exit replaced, exception": "sys.exit = lambda code=0: None; 1 / 0",
    "os._exit": "os._exit(6)",
    "argv deleted": "del sys.argv",
    "modules cleared": "sys.modules.clear()",
    # exit handlers and threads
    "exit handler prints": "import atexit; atexit.register(print, 'late')",
    "exit handler raises": "import atexit; atexit.register(lambda: [][0])",
    "exit handler exits": "import atexit; atexit.register(lambda: sys.exit(7))",
    "exit handler leaves": "import atexit; atexit.register(lambda: os._exit(8))",
    "exit handler closes stdout": "import atexit; atexit.register(sys.stdout.close)",
    "thread prints late": """
        import threading, time
        threading.Thread(target=lambda: (time.sleep(0.2), print("late"))).start()
        """,
    "thread fails": "import threading; threading.Thread(target=lambda: 1 / 0, name='t').start()",
    "thread exits": "import threading; threading.Thread(target=sys.exit, args=(3,)).start()",
    "pool of threads left open": """
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(2)
        pool.submit(print, "in the pool").result()
        """,
    "pool of processes left open": """
        from concurrent.futures import ProcessPoolExecutor
        if __name__ == "__main__":
            pool = ProcessPoolExecutor(2)
            print(pool.submit(abs, -3).result())
        """,
    "pool of threads left open, exception": """
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(2)
        pool.submit(print, "in the pool").result()
        raise ValueError("bad")
        """,
    # children
    "forked child exits": """
        if os.fork() == 0:
            sys.exit(7)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
        """,
    "forked child fails": """
        if os.fork() == 0:
            raise ValueError("bad")
        print(os.waitstatus_to_exitcode(os.wait()[1]))
        """,
    "forked child ends": """
        if os.fork():
            print(os.waitstatus_to_exitcode(os.wait()[1]))
        else:
            sys.stdout.close()
        """,
}  # fmt: skip
FEW = (
    "started again",
    "stdout closed",
    "stdout without flush",
    "exception",
    "exit with 2**64",
    "pool of threads left open",
)


@dataclass(frozen=True, kw_only=True)
class Ended:
    code: int
    """As a shell reports it."""
    output: str


@pytest.fixture
def program(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "program.py"
    path.write_text(f"import os, sys\n{textwrap.dedent(PROGRAMS[request.param])}\n")
    return path


def ended(folder: Path, words: tuple[str, ...], environ: dict[str, str]) -> Ended:
    """Run Python with both streams in one file, as a rank has them."""
    folder.mkdir()
    with (folder / "output").open("ab") as output:
        done = subprocess.run(
            [sys.executable, *words],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=60,
            check=False,
        )
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return Ended(code=code, output=_text(folder / "output"))


def as_a_rank(folder: Path, way: tuple[str, ...], program: Path) -> tuple[Ended, RankRecord]:
    variables = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    environ = {**plain_environ(), **variables, "LAUNCHER_RUN_DIR": str(folder / "run")}
    end = ended(folder, ("-m", *way, "--", str(program)), environ)
    attempt = RunLayout(folder / "run").attempt(1)
    record = from_json(RankRecord, attempt.rank_record(0).read_bytes())
    return Ended(code=end.code, output=_text(attempt.rank_log(0, 0))), record


def plain_environ() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}  # as ranks have it


def _text(path: Path) -> str:
    text = path.read_text() if path.exists() else ""
    return re.sub(r"0x[0-9a-f]+|\b1\d{14}\b|(?<=refcount : )\d+", "ADDRESS", text)


@pytest.mark.process
@pytest.mark.parametrize("program", PROGRAMS, indirect=True)
def test_a_program_ends_as_under_plain_python(tmp_path: Path, program: Path) -> None:
    plain = ended(tmp_path / "plain", (str(program),), plain_environ())
    alone, _ = as_a_rank(tmp_path / "alone", ALONE, program)
    guarded, record = as_a_rank(tmp_path / "guarded", GUARD, program)
    assert alone == plain
    assert guarded == plain
    assert record.state is (RankState.DONE if plain.code == 0 else RankState.FAILED)
    if record.exception is None:
        assert record.exit_code == plain.code


@pytest.mark.process
def test_a_relative_script_has_the_paths_of_plain_python(tmp_path: Path) -> None:
    text = "import sys; print(__file__, __loader__.path, sys.argv, sys.orig_argv, sys.path[0])"
    (tmp_path / "tool.py").write_text(f"{text}\n1 / 0\n")
    (tmp_path / "train-vae.py").symlink_to("tool.py")
    for program in ("tool.py", "./train-vae.py", f"../{tmp_path.name}/train-vae.py"):
        plain, rank = (
            subprocess.run(
                [sys.executable, *words, program, "x"],
                cwd=tmp_path,
                env={"PATH": os.environ["PATH"]},
                capture_output=True,
                timeout=60,
                check=False,
            )
            for words in ((), ("-m", *ALONE, "--"))
        )
        assert (rank.stdout, rank.stderr) == (plain.stdout, plain.stderr)


@pytest.mark.process
@pytest.mark.parametrize("program", FEW, indirect=True)
def test_a_program_that_the_agent_forked_ends_as_under_plain_python(
    tmp_path: Path, program: Path
) -> None:
    plain = ended(tmp_path / "plain", (str(program),), plain_environ())
    rank, _ = as_a_rank(tmp_path / "rank", AGENT, program)
    assert rank == plain


@pytest.mark.process
def test_a_reader_that_leaves_ends_the_program_as_under_plain_python(tmp_path: Path) -> None:
    """Without a run folder, output goes where the caller wants it."""
    program = tmp_path / "program.py"
    program.write_text("import sys\nsys.stdin.read()\nsys.stdout.write('x')\n")
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    codes = []
    for words in ((str(program),), ("-m", *ALONE, "--", str(program))):
        process = subprocess.Popen(
            [sys.executable, *words],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        process.stdout.close()
        process.communicate(timeout=30)
        codes.append(process.returncode)
    assert codes == [120, 120]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((None, 0), (0, 0), (3, 3), ("text", 1), (-1, 255), (256, 0), (True, 1), (0.0, 1)),
        *((2**63 - 1, 255), (2**63, 255), (2**40, 0), (-(2**70), 255)),
    ],
)
def test_exit_codes_are_the_interpreters(code: object, expected: int) -> None:
    assert exit_code_of(SystemExit(code)) == expected
