"""One command: parse, call the verb, turn every end into an exit code."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from launcher.cli import failure
from launcher.cli.arguments import parse, typed_program
from launcher.cli.verbs import VERBS, VerbModule, load
from launcher.errors import ConfigError, LauncherError

BROKEN_PIPE = 141  # 128 + SIGPIPE, what a shell reports for any other program


def entry_point() -> NoReturn:
    """Run the command that was typed and leave with its exit code."""
    _mend_streams()
    sys.exit(main(sys.argv[1:], program=typed_program(sys.argv, sys.orig_argv)))


def _mend_streams() -> None:
    """Whatever was closed (`>&-`) or knows few letters (LANG=C), saying something must not fail."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main(
    argv: Sequence[str],
    *,
    program: Sequence[str] = ("launcher",),
    verb: Callable[[str], VerbModule] = load,
) -> int:
    """Run one command and return its exit code; nothing is raised. `verb` finds modules."""
    try:
        code = _run(argv, program, verb)
        sys.stdout.flush()
    except LauncherError as error:
        failure.show(error)
        return error.exit_code
    except KeyboardInterrupt:
        failure.say("interrupted")
        return 130
    except BrokenPipeError:
        # Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        told = failure.of_machine(error)
        if told is not None:
            failure.show(told)
            return told.exit_code
        failure.show_bug(error, argv)
        return 1
    return code


def _run(argv: Sequence[str], program: Sequence[str], verb: Callable[[str], VerbModule]) -> int:
    if argv and argv[0].split("=")[0] in ("--shell-completion", "-sc"):
        from launcher.cli.completion import main as complete

        return complete(argv)
    if "--version" in argv:
        return _version()
    if "--help" in argv or "-h" in argv:
        return _help(argv, program)
    failure.log_warnings()
    _require_folder()
    invocation = parse(argv, VERBS, program)
    return verb(invocation.verb).main(invocation)


def _require_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ConfigError(
            "the folder you stand in was removed", hint="`cd` to one that is there, and repeat"
        ) from error


def _version() -> int:
    from launcher import __version__

    print(f"launcher {__version__}")
    return 0


def _help(argv: Sequence[str], program: Sequence[str]) -> int:
    from launcher.cli.usage import of_verb, overview

    invocation = parse(argv, VERBS, program)
    named = any(word in VERBS for word in argv)
    print(of_verb(invocation.verb, invocation) if named else overview(invocation))
    return 0
