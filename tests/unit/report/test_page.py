from __future__ import annotations

import html.parser
import json
import math
import re
from pathlib import Path
from typing import Any

from launcher import report
from launcher.report.series import restarts
from launcher.runs import events, metrics
from launcher.specs import RankState, RunLayout
from tests.run_folder import RunFolder

VOID = {"meta", "line", "polyline", "br"}


class Page(html.parser.HTMLParser):
    """Reads a page as a browser does. Fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.outside: list[str] = []
        """What would be loaded from elsewhere."""
        self.texts: list[str] = []
        """Texts and values of attributes."""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.outside += [value or "" for name, value in attrs if name in ("src", "href")]
        self.texts += [value or "" for _, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def steps(first: int, last: int, **changes: Any) -> list[dict[str, Any]]:
    return [
        {
            "step": step,
            "loss": 2.0 / step,
            "lr": 1e-4 * step,
            "samples": 32,
            "at": 1.0 * step,
            "step_time_s": 0.5,
            **changes,
        }
        for step in range(first, last + 1)
    ]


def page_of(folder: RunFolder) -> str:
    report.write(folder.layout)
    text: str = folder.layout.report.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert page.outside == []
    assert "http://" not in text
    assert "https://" not in text
    return text


def test_a_name_that_is_not_utf8_is_shown_escaped(folder: RunFolder) -> None:
    folder.begin().raised(0, "ValueError", "no file caf\udce9").ended()
    assert r"no file caf\udce9" in page_of(folder)


def test_a_run_that_has_just_started_has_a_page(folder: RunFolder) -> None:
    text = page_of(folder.begin())
    assert "no data yet" in text
    assert "r1" in text


def test_the_page_has_curves_times_attempts_and_settings(folder: RunFolder) -> None:
    folder.layout.path.mkdir(parents=True)
    folder.layout.config.write_text("train: {lr: 0.0002}\nparams: {}\n")
    folder.begin(attempt=1).metrics(steps(1, 60)).ended(cause="rank 1 was killed")
    folder.begin(attempt=2, spent=9.0).metrics(
        [
            *steps(41, 100),
            {"step": 50, "eval": {"accuracy": 0.4}},
            {"step": 100, "eval": {"accuracy": 0.8}},
        ]
    )
    for rank in range(4):
        folder.rank(rank, state=RankState.DONE, step=100, phase_seconds={"train": 7.0})
    folder.ended("done")
    text = page_of(folder)
    for expected in ("attempt 2", "Accuracy", "train.lr", "0.0002", "staging", "lost work"):
        assert expected in text
    assert "rank 1 was killed" in text
    assert "First failure" not in text
    assert "params" not in text


def test_the_page_shows_the_first_failure(folder: RunFolder) -> None:
    folder.begin().raised(2, "ValueError", "bad <b>label</b>").ended()
    text = page_of(folder)
    assert "First failure" in text
    assert "bad &lt;b&gt;label&lt;/b&gt;" in text
    assert "<b>label</b>" not in text


HOSTILE = """<script>alert(1)</script>'" onload="alert(2)"""


def test_hostile_names_are_shown_as_text_everywhere(tmp_path: Path) -> None:
    folder = RunFolder(layout=RunLayout.of(tmp_path, HOSTILE.replace("/", "|")))
    folder.layout.path.mkdir(parents=True)
    folder.layout.config.write_text(json.dumps({"setting": HOSTILE, HOSTILE: 1}))
    found = {
        "host": HOSTILE,
        "python": HOSTILE,
        "packages": {HOSTILE: HOSTILE},
        "variables": {HOSTILE: HOSTILE},
        "platform": HOSTILE,
        "git": {
            "diff": HOSTILE,
            "untracked": [HOSTILE],
            "branch": HOSTILE,
            "commit": HOSTILE,
            "dirty": True,
        },
    }
    folder.layout.environment.write_text(json.dumps(found))
    folder.begin().raised(1, HOSTILE, HOSTILE)
    evals = [{"step": step, "eval": {HOSTILE: float(step)}} for step in (1, 2)]
    folder.metrics([*steps(1, 3), *evals])
    folder.layout.attempt(1).result.write_text(json.dumps({HOSTILE: 0.5}))
    folder.rank(0, phase_seconds={HOSTILE: 7.0})
    folder.tell(events.RankFailed(at=1.0, rank=0, node=HOSTILE, what=HOSTILE))
    folder.ended(cause=HOSTILE)
    page = Page(page_of(folder))
    assert page.tags.count("script") == 1
    assert "onload" not in page.attributes
    assert sum(HOSTILE in text for text in page.texts) > 20


def test_losses_that_are_not_finite_are_counted_and_do_not_break_the_curve(
    folder: RunFolder,
) -> None:
    bad = steps(3, 3, loss=math.nan) + steps(4, 4, loss=math.inf)
    folder.begin().metrics(steps(1, 2) + bad)
    text = page_of(folder)
    assert "no finite loss in 2 steps" in text
    assert "nan" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)


def test_a_single_point_and_a_flat_line_can_be_drawn(folder: RunFolder) -> None:
    folder.begin().metrics(steps(1, 1))
    page_of(folder)
    folder.metrics(steps(1, 5, loss=1.0))
    page_of(folder)
    folder.metrics(steps(1, 5, loss=0.0))
    page_of(folder)


def test_very_many_steps_still_make_a_small_page(folder: RunFolder) -> None:
    folder.begin().metrics(steps(1, 20_000))
    assert len(page_of(folder)) < 400_000


def test_restarts_are_marked_where_the_newer_attempt_resumes(folder: RunFolder) -> None:
    folder.begin(attempt=1).metrics(steps(1, 60))
    folder.begin(attempt=2).metrics(steps(41, 80))
    folder.begin(attempt=3).metrics(steps(71, 90))
    assert restarts(metrics.steps(metrics.history(folder.layout))) == [(40, 2), (70, 3)]
    text = page_of(folder)
    assert "<span>attempt 2</span>" in text
    assert "<span>attempt 3</span>" in text


def test_a_config_that_is_not_text_does_not_prevent_the_page(folder: RunFolder) -> None:
    folder.layout.path.mkdir(parents=True)
    folder.layout.config.write_bytes(b"train: {lr: \xff\xfe}\n")
    assert "r1" in page_of(folder.begin())
