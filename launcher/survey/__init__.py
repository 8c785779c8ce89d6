"""How the nodes are, and at which addresses they reach each other: asked of them, all at once."""

from launcher.survey import addresses, mesh
from launcher.survey.ask import LAUNCHER, PACKAGES, Question, ask
from launcher.survey.facts import Gpu, Interface, NodeFacts

__all__ = [
    "LAUNCHER",
    "PACKAGES",
    "Gpu",
    "Interface",
    "NodeFacts",
    "Question",
    "addresses",
    "ask",
    "mesh",
]
