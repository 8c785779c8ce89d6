"""One command: parse it, call its verb, and turn every result into an exit code."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from launcher import search_paths
from launcher.cli import messages, printing
from launcher.cli.arguments import UTF8_OPTION, parse, typed_program
from launcher.cli.verbs import VERBS, VerbFunction, load
from launcher.engines.outer import without_outer
from launcher.errors import ConfigError, Interrupted, LauncherError, SavedForRequeue
from launcher.interrupts import ignore_repeated, interruptible

_PRINTABLE = "launcher_printable"
BROKEN_PIPE = 141  # 128 + SIGPIPE, as a shell reports it for other programs


def entry_point() -> NoReturn:
    """Run the command that the user typed, and exit with its code."""
    _use_utf8()
    _fix_streams()
    _fix_environment()
    code = main(sys.argv[1:], program=typed_program(sys.argv, sys.orig_argv))
    ignore_repeated()
    sys.exit(code)


def _use_utf8() -> None:
    """Start this process again in Python's UTF-8 mode, if paths are read in another encoding.

    A path with letters outside of it has two forms otherwise, in the memory of this process and in
    files such as `config.yaml`. The environment, and so the ranks, keep the encoding of the user.
    """
    if sys.getfilesystemencoding() != "utf-8" and sys.executable:
        argv = [sys.orig_argv[0], *UTF8_OPTION, *sys.orig_argv[1:]]
        os.execv(sys.executable, argv)  # noqa: S606 - an argv, no shell


def _fix_streams() -> None:
    """Make printing safe if a stream is closed (`>&-`) or has few characters (LANG=C)."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_PRINTABLE)


def _printable(error: UnicodeError) -> tuple[str | bytes, int]:
    """Print a byte of a name that is not text as it is, and what a stream lacks as an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    if "\udc80" <= letter <= "\udcff":
        return os.fsencode(letter), error.start + 1
    return letter.encode("ascii", "backslashreplace").decode(), error.start + 1


codecs.register_error(_PRINTABLE, _printable)


def _fix_environment() -> None:
    """Make the environment mean the same in every process that inherits it, in any folder."""
    kept = without_outer(os.environ)
    for name in os.environ.keys() - kept.keys():
        del os.environ[name]
    with contextlib.suppress(FileNotFoundError):  # reported by `_require_folder`
        os.environ.update(search_paths.absolute(os.environ, Path.cwd()))


def main(
    argv: Sequence[str],
    *,
    program: Sequence[str] = ("launcher",),
    verb: Callable[[str], VerbFunction] = load,
) -> int:
    """Run one command and return its exit code; never raises. `verb` returns a verb by name."""
    try:
        with interruptible():
            code = _run(argv, program, verb)
            sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        return _explain(error, argv)
    return code


def _explain(error: BaseException, argv: Sequence[str]) -> int:
    """Print what happened, and return the exit code."""
    if isinstance(error, KeyboardInterrupt | Interrupted | SavedForRequeue):
        ignore_repeated()
    if isinstance(error, KeyboardInterrupt):
        messages.say("interrupted")
        return Interrupted.exit_code
    if isinstance(error, BrokenPipeError):
        # Otherwise Python reports the error again when it flushes at exit.
        printing.discard(sys.stdout)
        return BROKEN_PIPE
    known = error if isinstance(error, LauncherError) else messages.of_machine(error)
    if known is None:
        messages.show_bug(error, argv)
        return 1
    messages.show(known)
    return known.exit_code


def _run(argv: Sequence[str], program: Sequence[str], verb: Callable[[str], VerbFunction]) -> int:
    if argv and argv[0].split("=")[0] in ("--shell-completion", "-sc"):
        from launcher.cli.completion import main as complete

        return complete(argv)
    if "--version" in argv:
        parse(argv, VERBS, program)  # it may be an argument of a program
        return _version()
    if "--help" in argv or "-h" in argv:
        return _help(argv, program)
    messages.log_warnings()
    _require_folder()
    invocation = parse(argv, VERBS, program)
    return verb(invocation.verb)(invocation)


def _require_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ConfigError(
            "the current folder was removed", hint="`cd` to an existing folder, then try again"
        ) from error


def _version() -> int:
    from launcher import __version__

    printing.out(f"launcher {__version__}")
    return 0


def _help(argv: Sequence[str], program: Sequence[str]) -> int:
    from launcher.cli.usage import of_verb, overview

    invocation = parse(argv, VERBS, program)
    named = any(word in VERBS for word in argv)
    printing.out(of_verb(invocation.verb, invocation) if named else overview(invocation))
    return 0
