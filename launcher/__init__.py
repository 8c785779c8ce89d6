"""A distributed training launcher: one command from a recipe to a supervised, resumable run."""

__version__ = "0.1.0"
