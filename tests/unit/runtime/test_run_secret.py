"""Seals: what a rank accepts from the network."""

from __future__ import annotations

import pytest

from launcher.errors import TrainingError
from launcher.runtime.run_secret import RunSecret
from launcher.specs.secrets import RUN_SECRET, mask

OURS = RunSecret("a" * 64)
SEALED = OURS.seal("object 1 of rank 0", b"hello")


def test_a_sealed_message_is_opened_by_those_with_the_same_secret() -> None:
    assert RunSecret("a" * 64).open("object 1 of rank 0", SEALED) == b"hello"


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"hello",
        SEALED[:-1],
        SEALED + b"!",
        SEALED[:20],
        RunSecret("").seal("object 1 of rank 0", b"hello"),
        RunSecret("b" * 64).seal("object 1 of rank 0", b"hello"),
        OURS.seal("object 0 of rank 0", b"hello"),
        OURS.seal("object 1 of rank 1", b"hello"),
    ],
)
def test_anything_else_is_refused_with_what_it_should_have_been(forged: bytes) -> None:
    with pytest.raises(TrainingError, match="refused object 1 of rank 0"):
        OURS.open("object 1 of rank 0", forged)


def test_a_token_does_not_reveal_the_secret_and_differs_by_purpose_and_secret() -> None:
    token = OURS.token("one")
    assert "a" * 64 not in token
    assert len({token, OURS.token("two"), RunSecret("b" * 64).token("one")}) == 3
    assert token == RunSecret("a" * 64).token("one")


def test_the_secret_is_read_from_a_variable_whose_value_is_masked_wherever_it_is_shown() -> None:
    environ = {RUN_SECRET: "a" * 64}
    assert RunSecret.from_environ(environ).open("object 1 of rank 0", SEALED) == b"hello"
    assert mask(environ) == {RUN_SECRET: "***"}
