"""Engines that have to be installed: what each needs, and how to get it. Imports none of them."""

from launcher.engines.needs import require

__all__ = ["require"]
