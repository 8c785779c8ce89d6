"""The plan: decide everything first, as a value that prints; then do exactly that."""

from launcher.plan.build import PlanRequest, build, oversubscribed, port, ranks_on_cores
from launcher.plan.render import checkpoint_rule, render

__all__ = [
    "PlanRequest",
    "build",
    "checkpoint_rule",
    "oversubscribed",
    "port",
    "ranks_on_cores",
    "render",
]
