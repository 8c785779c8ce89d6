"""The table of keys in docs/config.md is the schema's.

`LAUNCHER_WRITE_DOCS=1 pytest tests/unit/config/test_docs.py` writes it anew.
"""

from __future__ import annotations

import os
from pathlib import Path

from launcher.config.keys import Key, all_keys

PAGE = Path(__file__).parents[3] / "docs" / "config.md"
BEGIN = "<!-- keys: written by tests/unit/config/test_docs.py -->\n"
END = "<!-- end of keys -->\n"


def table() -> str:
    rows = [
        "| key | default | meaning |",
        "| --- | --- | --- |",
        *(f"| `{key.name}` | {_default(key)} | {_meaning(key)} |" for key in all_keys().values()),
    ]
    return "\n".join(rows) + "\n"


def _default(key: Key) -> str:
    if key.default in ("", (), {}, None):
        return ""
    shown = str(key.default)
    return f"`{shown.lower() if isinstance(key.default, bool) else shown}`"


def _meaning(key: Key) -> str:
    choices = f" One of {', '.join(key.choices)}." if key.choices else ""
    return f"{key.help}{choices}".replace("|", "\\|")


def test_the_page_lists_every_key_with_default_and_meaning() -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    wanted = f"{before}{BEGIN}{table()}{END}{after}"
    if os.environ.get("LAUNCHER_WRITE_DOCS"):
        PAGE.write_text(wanted)
    assert PAGE.read_text() == wanted, f"accept with: LAUNCHER_WRITE_DOCS=1 pytest {__file__}"
