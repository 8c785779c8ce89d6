"""Runs a person's program inside a rank, unchanged and in the same process.

The program sees what it would see under `python program.py args`: `__main__`, `sys.argv`, the
script's folder first on `sys.path`, exit codes, tracebacks. Around it stand the log file, the
status file and the stop signals of `launcher.runtime.process`.
"""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
import threading
import types
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path

from launcher.runtime.environ import LaunchEnviron
from launcher.runtime.failure import clean, describe, exit_code_of
from launcher.runtime.process import RankProcess, begin
from launcher.specs import RankState

__all__ = ["leave_without_finalize", "run"]

_MPI = frozenset({"mpi4py.MPI", "horovod.torch"})
"""Modules that start MPI, or may."""


def run(program: str, args: Sequence[str]) -> int:
    """Run `program` as this rank and return the exit code that the process should end with."""
    process = begin(os.environ, redirect_output=True)
    _stand_where_the_person_stood(process.launch)
    process.status.update(state=RankState.RUNNING)
    _look_like_a_script(program, args)
    code = _execute(program, process)
    _wait_for_threads()
    _record_end(process, code)
    return code


def leave_without_finalize(code: int) -> None:
    """End a process that speaks MPI here, if it failed.

    MPI_Finalize, called when the interpreter ends, would wait for the other ranks. They wait for us
    in a collective, so neither would ever end.
    """
    if code == 0 or not _MPI.intersection(sys.modules):
        return
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code & 0xFF)


def _stand_where_the_person_stood(launch: LaunchEnviron) -> None:
    """Relative paths mean the person's folder, or on a node without it its frozen counterpart."""
    if launch.cwd is None or _entered(launch.cwd):
        return
    frozen = launch.frozen_cwd or Path.cwd()
    # Of a folder that git ignores there is no copy: then its nearest parent.
    if any(_entered(folder) for folder in (frozen, *frozen.parents)):
        sys.stderr.write(f"{launch.cwd} is not on this node: running in {Path.cwd()}\n")


def _entered(folder: Path) -> bool:
    try:
        os.chdir(folder)
    except OSError:
        return False
    return True


def _look_like_a_script(program: str, args: Sequence[str]) -> None:
    sys.argv = [program, *args]
    folder = str(Path(program).resolve().parent)
    # `python -m` put the folder of the command there; a script has its own instead.
    if not sys.flags.safe_path:
        sys.path[0:1] = [folder]


def _execute(program: str, process: RankProcess) -> int:
    try:
        _run_as_main(program)
    except SystemExit as error:
        return _leave(error, process)
    except BaseException as error:
        trace = clean(error.__traceback__)
        # Told before anything else runs: printing may block, a peer may abort us, and the first
        # failure is found by this time.
        process.status.update(
            state=RankState.FAILED, exception=describe(error), exit_code=_code_of(error)
        )
        # Through the hook, so that a program's own one (rich tracebacks, trackers) is used.
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return _code_of(error)
    return 0


def _run_as_main(program: str) -> None:
    """Execute the file as the interpreter would.

    Not `runpy.run_path`: it takes the module away when the program's last line is done, while its
    threads, exit handlers and unflushed files live on, and these would then end in any order.
    """
    with io.open_code(program) as file:
        code = compile(file.read(), program, "exec", dont_inherit=True)
    module = types.ModuleType("__main__")
    module.__file__ = program
    module.__loader__ = SourceFileLoader("__main__", program)
    module.__dict__["__cached__"] = None
    sys.modules["__main__"] = module
    exec(code, module.__dict__)  # noqa: S102 - it is what we were asked to run


def _code_of(error: BaseException) -> int:
    return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1


def _leave(error: SystemExit, process: RankProcess) -> int:
    code = exit_code_of(error)
    if error.code is not None and not isinstance(error.code, int):
        print(error.code, file=sys.stderr)  # noqa: T201 - what the interpreter does
    if code == 0 or _was_stopped(process, code):
        return code
    process.status.update(state=RankState.FAILED, exception=describe(error), exit_code=code)
    return code


def _was_stopped(process: RankProcess, code: int) -> bool:
    return process.stop.signal is not None and code == 128 + process.stop.signal


def _wait_for_threads() -> None:
    """Let the program's non-daemon threads finish, as the interpreter would at its end."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()


def _record_end(process: RankProcess, code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    if not process.status.ended:
        process.status.change(
            state=RankState.DONE if code == 0 else RankState.FAILED,
            exit_code=code,
            signal=process.stop.signal if _was_stopped(process, code) else None,
        )
    process.status.close()
