"""A distributed training launcher: one command from a recipe to a supervised, resumable run."""

import sys

__version__ = "0.1.0"


def _forget_current_folder() -> None:
    """Undo what `python -m launcher...` does to `sys.path`: it puts the current folder first.

    A `queue.py` or a `yaml` package of the user would be imported instead of what we need. So this
    runs before any other import. A program that merely imports us keeps its path.
    """
    if sys.flags.safe_path or getattr(sys, "argv", [])[:1] != ["-m"]:
        return  # not while `-m` looks for its module
    word = sys.orig_argv[-len(sys.argv)]  # `launcher.x`, or `-mlauncher.x`
    module = word.partition("m")[2] if word.startswith("-") else word
    if module.partition(".")[0] == __name__:
        _forget_modules_in(sys.path.pop(0))


def _forget_modules_in(folder: str) -> None:
    """Undo that `-m` itself has imported a file there as a module of the interpreter: `warnings`.

    What holds such a module keeps it; for all others, the name is free again.
    """
    if folder in sys.path:
        return
    theirs = {
        name
        for name in sys.stdlib_module_names.intersection(sys.modules)
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(
            (f"{folder}/{name}.", f"{folder}/{name}/__init__.")
        )
    }
    for name in [each for each in sys.modules if each.partition(".")[0] in theirs]:
        del sys.modules[name]


_forget_current_folder()
