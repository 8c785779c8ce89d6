"""The plan: decide everything first, as a value that prints; then do exactly that."""

from launcher.plan.build import PlanRequest, build
from launcher.plan.render import checkpoint_rule, render

__all__ = ["PlanRequest", "build", "checkpoint_rule", "render"]
