"""Runs a program of the user inside a rank, unchanged and in the same process.

The program sees what it sees under `python program.py args` or `python -m module args`: `__main__`,
`sys.argv`, `sys.path`, exit codes, tracebacks. The shim adds the log file, the status file and the
stop signals of `launcher.runtime.process`.
"""

from __future__ import annotations

import atexit
import builtins
import io
import os
import runpy
import sys
import types
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from time import time
from traceback import format_exception
from types import TracebackType

from launcher.runtime import imports, interpreter_exit
from launcher.runtime.environ import LaunchEnviron
from launcher.runtime.process import RankProcess, begin
from launcher.specs import RankException, RankState
from launcher.specs.secrets import hide, reveal

__all__ = ["describe", "exit_without_finalize", "run"]

_MPI = frozenset({"mpi4py.MPI", "horovod.torch"})
"""Modules that start MPI, or may."""
_OWN_FOLDER = str(Path(__file__).parent)
_MESSAGE_LIMIT = 4_000
_TRACEBACK_LIMIT = 40_000


def run(program: str, args: Sequence[str]) -> int:
    """Run a program as this rank and return the exit code that the process should end with.

    As after `python`, it is a file, or `-m` with a module as the first of `args`.
    """
    process = begin(os.environ, redirect_output=True)
    _change_folder(process.launch)
    process.status.update(state=RankState.RUNNING)
    code = _guarded(lambda: _start(program, args, process.launch), process)
    while_waiting = _guarded(interpreter_exit.wait_for_threads, process)
    code = code or while_waiting
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
    os._exit(code & 0xFF if interpreter_exit.flush_streams() else interpreter_exit.FLUSH_FAILED)


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


def _start(program: str, args: Sequence[str], launch: LaunchEnviron) -> None:
    args = reveal(list(args), os.environ)
    _set_typed_words(program, args)
    if program == "-m":
        _look_like_a_module(launch, args)
        _run_module(args[0])
    else:
        _look_like_a_script(program, args)
        _run_as_main(_absolute(program))


def _set_typed_words(program: str, args: Sequence[str]) -> None:
    """Set what a program executes to start itself again; ours would start an agent."""
    sys.orig_argv = [sys.executable, program, *args]


def _look_like_a_script(program: str, args: Sequence[str]) -> None:
    sys.argv = [program, *args]
    imports.give_way(str(Path(program).resolve().parent), os.environ)


def _look_like_a_module(launch: LaunchEnviron, args: Sequence[str]) -> None:
    sys.argv = ["-m", *args[1:]]
    imports.give_way(_current_folder(launch), os.environ)


def _current_folder(launch: LaunchEnviron) -> str | None:
    """Return the folder from which a module is imported, or its copy in the code snapshot."""
    if launch.import_folder is not None:
        return str(launch.import_folder)
    try:
        return os.getcwd()  # noqa: PTH109 - a text, as the interpreter has it
    except OSError:  # deleted
        return None


def _guarded(call: Callable[[], None], process: RankProcess) -> int:
    """Call a part of the program; return its exit code, and report how it failed."""
    error = _error_of(call)
    if error is None:
        return 0
    if not _is_stop(error, process):
        # Recorded before anything else: printing may block, a peer may abort us, and the time of
        # the record decides which rank failed first.
        _record_failure(process, error)
    if isinstance(error, SystemExit):
        return interpreter_exit.report_exit(error)
    # Through the hook, so that one of the program (rich tracebacks, trackers) is used.
    return interpreter_exit.report(error, _without_our_frames(error.__traceback__))


def _error_of(call: Callable[[], None]) -> BaseException | None:
    """Return what `call` raised. The caller is outside of `except`, as the interpreter is."""
    try:
        call()
    except BaseException as error:
        return error
    return None


def _absolute(program: str) -> str:
    """Return the path as `__file__` and tracebacks have it: `x/../train.py` keeps its dots."""
    try:
        return os.path.join(os.getcwd(), program)  # noqa: PTH109, PTH118 - `Path` drops `./`
    except OSError:  # the folder is deleted
        return program


def _run_as_main(program: str) -> None:
    """Execute the file as the interpreter does.

    Not `runpy.run_path`: it clears the module after the last line of the program, while threads,
    exit handlers and unflushed files of the program may still need it.
    """
    with io.open_code(program) as file:
        code = compile(file.read(), program, "exec", dont_inherit=True)
    module = _new_main()
    module.__file__ = program
    module.__loader__ = SourceFileLoader("__main__", program)
    module.__dict__["__cached__"] = None
    exec(code, module.__dict__)  # noqa: S102 - it is the user's program


def _run_module(name: str) -> None:
    """Execute a module as `python -m` does."""
    module = _new_main()
    try:
        _, spec, code = runpy._get_module_details(name, runpy._Error)  # type: ignore[attr-defined]
    except runpy._Error as error:  # type: ignore[attr-defined]
        raise SystemExit(f"{sys.executable}: {error}") from None
    sys.argv[0] = spec.origin
    module.__file__ = spec.origin
    module.__loader__ = spec.loader
    module.__package__ = spec.parent
    module.__spec__ = spec
    module.__dict__["__cached__"] = spec.cached
    exec(code, module.__dict__)  # noqa: S102 - it is the user's program


def _new_main() -> types.ModuleType:
    module = types.ModuleType("__main__")
    module.__annotations__ = {}
    module.__dict__["__builtins__"] = builtins  # in other modules it is a dict
    sys.modules["__main__"] = module
    return module


def _record_failure(process: RankProcess, error: BaseException) -> None:
    code = interpreter_exit.exit_code_of(error)
    if code != 0:
        process.status.update(state=RankState.FAILED, exception=describe(error), exit_code=code)


def _is_stop(error: BaseException, process: RankProcess) -> bool:
    code = interpreter_exit.exit_code_of(error)
    return isinstance(error, SystemExit) and _was_stopped(process, code)


def _was_stopped(process: RankProcess, code: int) -> bool:
    return process.stop.signal is not None and code == 128 + process.stop.signal


def _record_end(process: RankProcess, code: int) -> None:
    """Record the end. The interpreter then flushes the streams, which may fail or block."""
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
        at=time(),
        kind=name,
        message=_hidden(_message(error)[: 2 * _MESSAGE_LIMIT])[:_MESSAGE_LIMIT],
        traceback=_hidden("".join(format_exception(kind, error, trace))[-2 * _TRACEBACK_LIMIT :])[
            -_TRACEBACK_LIMIT:
        ],
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
    except BaseException:  # whatever it raises, it is not the failure of the program
        return f"<unprintable {type(error).__name__}>"
