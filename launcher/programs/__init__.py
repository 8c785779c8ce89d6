"""Finds the program that the user names, a file or a module, and refuses what Python cannot run."""

from launcher.programs.modules import FoundModule, check_name, find_module, import_path
from launcher.programs.scripts import require_script

__all__ = ["FoundModule", "check_name", "find_module", "import_path", "require_script"]
