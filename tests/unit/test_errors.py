"""The error tree: exit codes are a promise to scripts."""

import pytest

from launcher import errors
from launcher.errors import LauncherError, UnknownNameError, nearest

EXIT_CODES = {
    "ConfigError": 2,
    "UnknownNameError": 2,
    "EngineMissingError": 2,
    "PreflightError": 3,
    "StagingError": 4,
    "TrainingError": 5,
    "CheckpointError": 5,
    "SavedForRequeue": 75,
    "NotRequeueable": 76,
    "Interrupted": 130,
}


@pytest.mark.parametrize(("name", "code"), EXIT_CODES.items())
def test_every_error_has_its_documented_exit_code(name: str, code: int) -> None:
    assert getattr(errors, name).exit_code == code


def test_no_error_is_missing_from_the_table_and_the_drawn_tree() -> None:
    classes = {
        name
        for name in errors.__all__
        if isinstance(getattr(errors, name), type) and name != "LauncherError"
    }
    assert classes == set(EXIT_CODES)
    assert all(name in (errors.__doc__ or "") for name in classes)


def test_unknown_name_offers_the_nearest_and_lists_all() -> None:
    error = UnknownNameError("recipe", "bert_finetun", ["bert_finetune", "script"])
    assert "did you mean `bert_finetune`?" in error.hint
    assert "script" in error.hint
    assert isinstance(error, LauncherError)


def test_unknown_name_without_a_near_one_only_lists() -> None:
    error = UnknownNameError("recipe", "zzz", ["bert_finetune"])
    assert "did you mean" not in error.hint


def test_unknown_name_says_when_there_is_nothing_to_choose() -> None:
    assert "no run exists" in UnknownNameError("run", "x", []).hint


def test_nearest_is_none_when_nothing_is_near() -> None:
    assert nearest("abc", ["xyz"]) is None
