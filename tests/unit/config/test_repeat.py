"""Overrides are offered again with references: no secret is in them, and they mean the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.config import load, repeatable


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {name: value for name, value in os.environ.items() if "TOKEN" not in name}
    monkeypatch.setattr(os, "environ", {**own, "DB_PASSWORD": "LEAKdb12"})


@pytest.mark.parametrize(
    "text",
    [
        r'args=["--password=Ab12\"LEAK99"]',
        r"args=['--password','LEAK\'s \"q\" \\ x',--lr,1e-4,001,'a, b',true]",
        "args=[--password,LEAKdb12]",
        "args=[--passwords=[LEAK1,LEAK2],--x]",
        "args=[--api_keys,LEAK1,LEAK2]",
        "args=[https://me:LEAKpw@host/x]",
        'params.db.password="LEAK,1"',
        "params.wandb.key=LEAK1",
        'params.db={password: LEAK1, port: 1, lr: 1e-4, n: "1", x: null, y: true}',
        "++params.passwords=[LEAK,LEAK2]",
    ],
)
def test_the_secret_is_not_shown_and_the_configuration_is_the_same(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "a.py").write_text("")
    first = load(["recipe=script", "script=a.py", text], cwd=tmp_path)
    (shown,) = repeatable([text], os.environ)
    assert "LEAK" not in shown
    again = load(["recipe=script", "script=a.py", shown], cwd=tmp_path)
    assert (again.args, again.params) == (first.args, first.params)


@pytest.mark.parametrize(
    "text",
    ["args=[--lr,1e-4]", "args=['--password=${oc.env:DB_PASSWORD}']", "nodes=4", "~params.x"],
)
def test_an_override_without_a_secret_stays_as_typed(text: str) -> None:
    assert repeatable([text], os.environ) == [text]


def test_a_secret_that_is_in_no_variable_is_masked() -> None:
    assert repeatable(["args=[--password,LEAK]"], {}) == ["args=[--password,***]"]
