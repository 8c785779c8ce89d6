"""What most nodes have, against which the others are compared. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from launcher.survey import PACKAGES, NodeFacts


@dataclass(frozen=True, kw_only=True)
class Majority:
    """The usual values of a cluster; of equally frequent ones that of the node named first."""

    python: str
    packages: Mapping[str, str]
    """Name -> version; empty where most nodes do not have the package."""
    driver: str
    gpus: int

    @classmethod
    def of(cls, nodes: Sequence[NodeFacts]) -> Majority:
        """Return the values of those nodes that told any."""
        told = [each for each in nodes if not each.problem]
        return cls(
            python=most_common(each.python for each in told),
            packages={name: most_common(each.version(name) for each in told) for name in PACKAGES},
            driver=most_common(each.driver for each in told),
            gpus=int(most_common(str(len(each.gpus)) for each in told) or 0),
        )


def most_common(values: Iterable[str]) -> str:
    """Return the most frequent value, of equally frequent ones the first; empty without any."""
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else ""


def same_release(one: str, other: str) -> bool:
    """Tell whether two versions differ at most in their patch level or build: 2.13.0, 2.13.1+cpu.

    Before 1.0 nothing is promised between 0.1 and 0.2 either, so two numbers decide there too.
    """
    return re.findall(r"\d+", one)[:2] == re.findall(r"\d+", other)[:2]
