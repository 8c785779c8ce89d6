"""No text of a user, a host or a program controls the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from launcher.cli import messages, printing
from launcher.cli.display import tables
from launcher.cli.display.lines import LineSurface
from launcher.cli.display.live import LiveSurface
from launcher.cli.display.status import Ticker
from launcher.errors import ConfigError

CLEAR = "name\x1b[2J\x07\x9b1m"
"""A name that clears the screen, rings the bell, and starts a sequence in one character."""
VISIBLE = r"name\x1b[2J\x07\x9b1m"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (CLEAR, VISIBLE),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\rb\x00\x08\x7f", r"a\rb\x00\x08\x7f"),
        ("\u202egpj.exe \u2066\u2028", r"\u202egpj.exe \u2066\u2028"),
        ("two\nlines\tof text\r\n", "two\nlines\tof text\n"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("größe 模型 🙂", "größe 模型 🙂"),
    ],
)
def test_control_characters_become_visible(text: str, shown: str) -> None:
    assert printing.printable(text) == shown


def test_every_surface_makes_them_visible(capsys: pytest.CaptureFixture[str]) -> None:
    drawn = io.StringIO()
    live = LiveSurface(Console(file=drawn, force_terminal=True, color_system=None, width=200))
    live.say(CLEAR)
    LineSurface().say(CLEAR)
    Ticker().say(CLEAR)
    printing.out(CLEAR)
    table = tables.table("node")
    tables.add(table, CLEAR)
    tables.show(table)
    messages.show(ConfigError(CLEAR, context=CLEAR, hint=CLEAR))
    said = capsys.readouterr()
    for text, times in ((drawn.getvalue(), 1), (said.out, 4), (said.err, 3)):
        assert text.count(VISIBLE) == times
        assert "\x1b" not in text


def test_the_output_of_the_program_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    drawn = io.StringIO()
    live = LiveSurface(Console(file=drawn, force_terminal=True, color_system=None, width=20))
    output = "\x1b[31m[red]\x1b[0m " + "x" * 100 + "\n  second"
    live.echo(output)
    LineSurface().echo(output)
    assert drawn.getvalue() == capsys.readouterr().out == output + "\n"
