"""What the user sees of a run: drawn live on a terminal, printed as lines elsewhere."""

from launcher.cli.display.run import RunDisplay
from launcher.cli.display.surface import open_surface

__all__ = ["RunDisplay", "open_surface"]
