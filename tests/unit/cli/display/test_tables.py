"""Tables on a terminal and in a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios

import pytest

from launcher.cli.display import tables

LONG = "gpu-" + "0123456789" * 30


@pytest.fixture(autouse=True)
def no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def test_columns_are_as_wide_as_they_need_to_be() -> None:
    table = tables.table("node", "step", "state", right=("step",))
    tables.add(table, "local0", 7, "running")
    tables.add(table, "n", 1200, "")
    assert tables.plain(table) == (
        "node    step  state\n"
        "local0     7  running\n"
        "n       1200"
    )  # fmt: skip


def test_nothing_is_cut_or_folded_in_a_pipe(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    table = tables.table("node", "note")
    tables.add(table, LONG, "a sentence of several words " * 20 + "end")
    tables.show(table)
    out = capfd.readouterr().out
    assert len(out.splitlines()) == 2
    assert f"{LONG}  a sentence of several words " in out
    assert out.endswith("words end\n")
    assert "\033" not in out


def test_brackets_are_shown_and_not_read_as_markup() -> None:
    table = tables.table("[bold]title")
    tables.add(table, "cluster.exclude=[red] :smile:")
    assert tables.plain(table).splitlines() == ["[bold]title", "cluster.exclude=[red] :smile:"]


@pytest.mark.parametrize(("columns", "width"), [("0", 80), ("60", 60)])
def test_a_terminal_without_columns_has_an_unknown_number(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert tables.terminal().width == width


def test_a_terminal_folds_long_cells_and_loses_no_character(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    table = tables.table("node", "state")
    tables.add(table, LONG, "running")
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setenv("COLUMNS", "60")
        tables.show(table)
        terminal.flush()
        shown = os.read(ours, 100_000).decode()
    os.close(ours)
    lines = re.sub(r"\033\[[0-9;]*m", "", shown).split("\r\n")
    assert max(len(line) for line in lines) <= 60
    assert "".join(line.split()[0] for line in lines[1:] if line.strip()) == LONG
