"""What a person sees while a run goes on: live on a terminal, rarely repeated lines elsewhere."""

from launcher.cli.display.run import RunDisplay
from launcher.cli.display.surface import Surface, open_surface

__all__ = ["RunDisplay", "Surface", "open_surface"]
