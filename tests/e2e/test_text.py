"""What is typed is what every rank receives, as arguments and variables, byte for byte."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from launcher.config.text import in_quotes
from launcher.runs.command_line import escaped
from tests.shell import typed_in_bash

pytestmark = pytest.mark.e2e

TYPED = [
    *("true", "yes", "null", "~", "1_000", "2.10", "1e-4", "12e4567", "0x10", "007", "1:30", "nan"),
    *("2024-01-01", "[0,1]", "trainer.devices=[0,1]", '{"a": [1, "x,]"]}', "it's", "a=b", "a: b"),
    *(
        "{}",
        "[]",
        "$HOME",
        "`id`",
        "$(id)",
        "*",
        "#",
        "a #b",
        "%s",
        "@f",
        "--",
        "-x",
        "\\d+",
        "a b",
    ),
    *("é日😀", "~/x", "!x", "&a", "|", "a\nb", "\x85\x07", "\udcff"),
]
"""Need no quotes."""
QUOTED = [
    "",
    "\\",
    "\\d\\",
    " ",
    " a ",
    "a,b",
    "'q'",
    '"q"',
    "${x}",
    "\\${x}",
    "a\\'b",
    "\n",
    "\t",
    "[",
]
"""Need quotes for Hydra."""
SCRIPT = """
import json, os, sys
from pathlib import Path
own = {name: value for name, value in os.environ.items() if name.startswith("T_")}
received = Path(os.environ["LAUNCHER_RUN_DIR"], f"received-{os.environ['RANK']}.json")
again = received.exists()
received.write_text(json.dumps([sys.argv[1:], own]))
sys.exit(0 if again else 3)
"""


def words() -> list[str]:
    """Return the overrides that give every text as an argument and as a variable."""
    items = [*TYPED, *(in_quotes(escaped(each)) for each in QUOTED)]
    variables = [f"env.T_{number}={item}" for number, item in enumerate(items)]
    return ["recipe=script", "script=show.py", f"args=[{','.join(items)}]", *variables]


def test_a_rank_receives_what_was_typed_and_again_after_resume(person: Any) -> None:
    (person.cwd / "show.py").write_text(SCRIPT)
    meant = [*TYPED, *QUOTED]
    expected = [meant, {f"T_{number}": text for number, text in enumerate(meant)}]
    first = [*words(), "run_id=r", "slots=2", "supervise.max_restarts=0"]
    for typed, code in ((first, 5), (["resume", "r"], 0)):
        done = person.types(*typed)
        assert done.returncode == code, done.stdout + done.stderr
        for rank in (0, 1):
            received = Path(person.run_folder("r") / f"received-{rank}.json")
            assert json.loads(received.read_text()) == expected
    assert "report" not in done.stderr


def test_the_plan_shows_the_words_that_the_program_receives(person: Any) -> None:
    (person.cwd / "show.py").write_text(SCRIPT)
    done = person.types("plan", *[word.replace("\udcff", "x") for word in words()])
    assert done.returncode == 0, done.stderr
    shown = re.search(r"^program: +(.*?)^code:", done.stdout, re.DOTALL | re.MULTILINE)
    assert shown is not None
    meant = [text.replace("\udcff", "x") for text in (*TYPED, *QUOTED)]
    assert typed_in_bash(shown[1])[1:] == meant
    exported = dict(
        re.findall(r"^export (T_\d+)=(.*?)(?=\nexport |\n\n# on )", done.stdout, re.S | re.M)
    )
    found = dict(zip(exported, typed_in_bash(" ".join(exported.values())), strict=True))
    assert found == {f"T_{number}": text for number, text in enumerate(meant)}


def test_a_recipe_file_gives_the_text_in_it(person: Any) -> None:
    (person.cwd / "show.py").write_text(SCRIPT.replace("3)", "0)"))
    recipes = person.cwd / "conf" / "recipe"
    recipes.mkdir(parents=True)
    (recipes / "mine.yaml").write_text(
        "# @package _global_\nrecipe: {program: show.py}\n"
        "args: [--lr, 1e-4, 2.10, 007, 2024-01-01, true, 1:30]\nenv: {T_A: yes, T_B: 1_000}\n"
    )
    done = person.types("recipe=mine", "run_id=r")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((person.run_folder("r") / "received-0.json").read_text()) == [
        ["--lr", "1e-4", "2.10", "007", "2024-01-01", "true", "1:30"],
        {"T_A": "yes", "T_B": "1_000"},
    ]
