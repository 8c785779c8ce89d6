from __future__ import annotations

from tests.run_folder import RunFolder, folder, now

__all__ = ["RunFolder", "folder", "now"]
