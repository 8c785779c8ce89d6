"""The plan: decide everything first, as a value that prints; then do exactly that."""

from launcher.plan.build import TRANSPORT_OF_SOURCE, PlanRequest, build, crowded, port, shared
from launcher.plan.render import checkpoint_rule, render

__all__ = [
    "TRANSPORT_OF_SOURCE",
    "PlanRequest",
    "build",
    "checkpoint_rule",
    "crowded",
    "port",
    "render",
    "shared",
]
