"""One number per node in the short form that Slurm uses, too: `2(x3),1` is 2, 2, 2, 1.

Ten thousand nodes have ten thousand slots, and every one of them is told all.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

_RUN = re.compile(r"\s*([0-9]+)(?:\(x([0-9]+)\))?\s*")


def write_counts(counts: Iterable[int]) -> str:
    """Return the numbers in the short form."""
    runs = ((count, sum(1 for _ in run)) for count, run in itertools.groupby(counts))
    return ",".join(str(count) if times == 1 else f"{count}(x{times})" for count, times in runs)


def read_counts(text: str) -> tuple[int, ...]:
    """Return the numbers that `text` stands for; none for an empty one.

    Raises:
        ValueError: it has another form.
    """
    counts: list[int] = []
    for part in text.split(",") if text else ():
        run = _RUN.fullmatch(part)
        if run is None:
            raise ValueError(f"`{part}` is no number such as 2 or 2(x3)")
        counts += [int(run.group(1))] * int(run.group(2) or 1)
    return tuple(counts)
