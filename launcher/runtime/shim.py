"""Runs a program of the user inside a rank, unchanged and in the same process.

The program sees what it sees under `python program.py args`: `__main__`, `sys.argv`, the script's
folder first on `sys.path`, exit codes, tracebacks. The shim adds the log file, the status file and
the stop signals of `launcher.runtime.process`.
"""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import TracebackType

from launcher.runtime.environ import LaunchEnviron
from launcher.runtime.process import RankProcess, begin
from launcher.specs import RankException, RankState
from launcher.specs.secrets import hide, reveal

__all__ = ["describe", "exit_code_of", "exit_without_finalize", "run"]

_MPI = frozenset({"mpi4py.MPI", "horovod.torch"})
"""Modules that start MPI, or may."""
_OWN_FOLDER = str(Path(__file__).parent)
_MESSAGE_LIMIT = 4_000
_TRACEBACK_LIMIT = 40_000


def run(program: str, args: Sequence[str]) -> int:
    """Run `program` as this rank and return the exit code that the process should end with."""
    process = begin(os.environ, redirect_output=True)
    _change_folder(process.launch)
    process.status.update(state=RankState.RUNNING)
    code = _execute(program, args, process)
    _wait_for_threads()
    _record_end(process, code)
    return code


def exit_without_finalize(code: int) -> None:
    """Exit now if this process failed and uses MPI; else return.

    When the interpreter ends, MPI_Finalize waits for the other ranks. They wait for this one in a
    collective, so none of them would ever end.
    """
    if code == 0 or not _MPI.intersection(sys.modules):
        return
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code & 0xFF)


def _change_folder(launch: LaunchEnviron) -> None:
    """Go to the folder where the user typed the command, else to its copy in the code snapshot."""
    if launch.cwd is None or _entered(launch.cwd):
        return
    copy = launch.frozen_cwd or Path.cwd()
    # The snapshot has no folders that git ignores: then the nearest parent is used.
    if any(_entered(folder) for folder in (copy, *copy.parents)):
        sys.stderr.write(f"{launch.cwd} does not exist on this node: running in {Path.cwd()}\n")


def _entered(folder: Path) -> bool:
    try:
        os.chdir(folder)
    except OSError:
        return False
    return True


def _look_like_a_script(program: str, args: Sequence[str]) -> None:
    sys.argv = [program, *args]
    folder = str(Path(program).resolve().parent)
    # `python -m` has put the current folder first; a script has its own folder there.
    if not sys.flags.safe_path:
        sys.path[0:1] = [folder]


def _execute(program: str, args: Sequence[str], process: RankProcess) -> int:
    try:
        _look_like_a_script(program, reveal(list(args), os.environ))
        _run_as_main(program)
    except SystemExit as error:
        return _on_system_exit(error, process)
    except BaseException as error:
        trace = _without_our_frames(error.__traceback__)
        # Recorded before anything else: printing may block, a peer may abort us, and the time of
        # the record decides which rank failed first.
        process.status.update(
            state=RankState.FAILED, exception=describe(error), exit_code=_code_of(error)
        )
        # Through the hook, so that one of the program (rich tracebacks, trackers) is used.
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return _code_of(error)
    return 0


def _run_as_main(program: str) -> None:
    """Execute the file as the interpreter does.

    Not `runpy.run_path`: it clears the module after the last line of the program, while threads,
    exit handlers and unflushed files of the program may still need it.
    """
    with io.open_code(program) as file:
        code = compile(file.read(), program, "exec", dont_inherit=True)
    module = types.ModuleType("__main__")
    module.__file__ = program
    module.__loader__ = SourceFileLoader("__main__", program)
    module.__dict__["__cached__"] = None
    sys.modules["__main__"] = module
    exec(code, module.__dict__)  # noqa: S102 - it is the user's program


def _code_of(error: BaseException) -> int:
    return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1


def _on_system_exit(error: SystemExit, process: RankProcess) -> int:
    code = exit_code_of(error)
    if error.code is not None and not isinstance(error.code, int):
        print(error.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    if code == 0 or _was_stopped(process, code):
        return code
    process.status.update(state=RankState.FAILED, exception=describe(error), exit_code=code)
    return code


def exit_code_of(error: SystemExit) -> int:
    """Return the exit code that the interpreter derives from a `SystemExit`."""
    if error.code is None:
        return 0
    return error.code & 0xFF if isinstance(error.code, int) else 1


def _was_stopped(process: RankProcess, code: int) -> bool:
    return process.stop.signal is not None and code == 128 + process.stop.signal


def _wait_for_threads() -> None:
    """Wait for the program's non-daemon threads, as the interpreter does."""
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


def describe(error: BaseException) -> RankException:
    """Return `error` as the status file records it, without secrets.

    Never raises, even if `str(error)` does.
    """
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    trace = _without_our_frames(error.__traceback__)
    return RankException(
        at=time.time(),
        kind=name,
        message=_hidden(_message(error)[: 2 * _MESSAGE_LIMIT])[:_MESSAGE_LIMIT],
        traceback=_hidden(
            "".join(traceback.format_exception(kind, error, trace))[-2 * _TRACEBACK_LIMIT :]
        )[-_TRACEBACK_LIMIT:],
    )


def _without_our_frames(trace: TracebackType | None) -> TracebackType | None:
    """Drop the frames before the program's first one: they do not help the user."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER):
        trace = trace.tb_next
    return trace


def _hidden(text: str) -> str:
    """Mask secrets, and escape lone surrogates, which file names that are not UTF-8 contain."""
    return hide(text.encode("utf-8", "backslashreplace").decode("utf-8"), os.environ)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return f"<unprintable {type(error).__name__}>"
