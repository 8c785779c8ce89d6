from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from launcher.runs.phases import phase_of
from launcher.runs.records import read_ranks
from launcher.specs import RankState

if TYPE_CHECKING:
    RunFolder = Any


def shown(folder: RunFolder, recipe: str, **values: Any) -> str:
    folder.begin(nodes=1).rank(0, **{"phase": "start", "step": 0, **values})
    (record,) = read_ranks(folder.layout, 1)
    return phase_of(record, recipe)


@pytest.mark.parametrize("state", [RankState.RUNNING, RankState.DONE, RankState.FAILED])
def test_a_script_that_names_no_phase_is_in_its_program_once_it_runs(
    folder: RunFolder, state: RankState
) -> None:
    assert shown(folder, "script", state=RankState.STARTING) == "start"
    assert shown(folder, "script", state=state, phase_seconds={"start": 5.0}) == "program"


def test_a_recipe_starts_until_it_names_a_phase_or_takes_a_step(folder: RunFolder) -> None:
    assert shown(folder, "bert_finetune") == "start"
    assert shown(folder, "bert_finetune", step=1) == "program"


def test_phases_that_a_program_names_are_shown_as_they_are(folder: RunFolder) -> None:
    assert shown(folder, "script", phase="eval", step=3) == "eval"
