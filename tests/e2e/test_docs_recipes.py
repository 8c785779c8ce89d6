"""The recipe that docs/recipes.md teaches works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


def block(language: str) -> str:
    """Return the page's only block in a language."""
    text = PAGE.read_text(encoding="utf-8")
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return str(found)


def test_the_example_recipe_of_the_docs_trains_on_three_nodes(person: Any) -> None:
    """Found in the `conf/` beside where the person stands; 3 divides neither batch nor data."""
    (person.cwd / "conf" / "recipe").mkdir(parents=True)
    (person.cwd / "conf" / "recipe" / "line.yaml").write_text(block("yaml"))
    (person.cwd / "line.py").write_text(block("python"))

    done = person.types("recipe=line", "nodes=3", "params.slope=4", "run_id=line")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(person.losses("line")) == list(range(1, 121))
    assert person.result("line")["result"]["slope"] == pytest.approx(4.0, abs=0.01)

    listing = person.types("checkpoints", "ls", "line")
    assert listing.returncode == 0, listing.stderr
    steps = [int(line.split()[0]) for line in listing.stdout.splitlines()[1:]]
    assert sorted(steps) == [100, 120]
