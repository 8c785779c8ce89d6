"""A command line taken apart."""

from __future__ import annotations

import pytest

from launcher.cli.arguments import FLAGS, flags_of, parse
from launcher.cli.verbs import VERBS
from launcher.errors import ConfigError, UnknownNameError


def test_no_verb_means_run() -> None:
    assert parse([], VERBS).verb == "run"
    assert parse(["recipe=x", "nodes=4"], VERBS).overrides == ("recipe=x", "nodes=4")


def test_the_first_word_without_an_equals_sign_is_the_verb_wherever_it_stands() -> None:
    found = parse(["recipe=x", "plan", "nodes=4"], VERBS)
    assert (found.verb, found.overrides, found.words) == ("plan", ("recipe=x", "nodes=4"), ())


def test_words_after_the_verb_are_its_own() -> None:
    found = parse(["checkpoints", "verify", "my-run", "storage.root=/x"], VERBS)
    assert (found.words, found.overrides) == (("verify", "my-run"), ("storage.root=/x",))


def test_overrides_in_all_of_hydras_forms_are_kept_as_typed() -> None:
    typed = ["~model", "+params.x=1", "++env.A=b c", "args=[--x,-1]", "x='a=b'"]
    assert parse(typed, VERBS).overrides == tuple(typed)


def test_a_near_miss_of_a_verb_is_offered() -> None:
    with pytest.raises(UnknownNameError) as caught:
        parse(["pln"], VERBS)
    assert "`plan`" in caught.value.hint
    with pytest.raises(UnknownNameError) as caught:
        parse(["recipe=x", "my-run-17"], VERBS)
    assert "key=value" in caught.value.hint


@pytest.mark.parametrize("key", ["env.A", "nodes", "params.depth", "recipe"])
def test_a_key_without_a_value_is_named_as_such(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse([key], VERBS)
    assert (caught.value.message, caught.value.hint) == (
        f"`{key}` has no value",
        f"write `{key}=...`",
    )


def test_flags_take_their_values_in_both_forms() -> None:
    found = parse(["--config-dir", "a b", "--config-dir=c", "logs", "--rank", "3", "-f"], VERBS)
    assert found.values("config-dir") == ("a b", "c")
    assert (found.number("rank"), found.has("follow"), found.has("json")) == (3, True, False)
    assert found.verb == "logs"


@pytest.mark.parametrize(
    ("typed", "says", "offers"),
    [
        (["--jsn", "plan"], "unknown flag `--jsn`", "--json"),
        (
            ["--epochs", "3"],
            "unknown flag `--epochs`",
            "arguments of a script: 'args=[--epochs,3]'",
        ),
        (["--lr=1"], "unknown flag `--lr`", "arguments of a script: 'args=[--lr,1]'"),
        (["plan", "--config-dir"], "`--config-dir` needs a value", "--config-dir DIR"),
        (["plan", "--config-dir", ""], "`--config-dir` needs a value", "--config-dir DIR"),
        (["plan", "--config-dir="], "`--config-dir` needs a value", "--config-dir DIR"),
        (["plan", "--json=yes"], "`--json` takes no value", "--json"),
        (["why", "--json"], "`why` does not have the flag `--json`", "`plan`"),
        (["status", "-m"], "`status` does not have the flag `--multirun`", "`run`"),
    ],
)
def test_a_wrong_flag_is_an_error_with_a_hint(typed: list[str], says: str, offers: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(typed, VERBS)
    assert says in caught.value.message
    assert offers in caught.value.hint


def test_a_flag_that_counts_expects_a_number() -> None:
    with pytest.raises(ConfigError, match="`--rank` expects a number, got `zero`"):
        parse(["logs", "--rank", "zero"], VERBS).numbers("rank")


def test_no_two_flags_share_a_name_and_all_belong_to_verbs_that_exist() -> None:
    names = [name for flag in FLAGS for name in flag.names]
    assert len(names) == len(set(names))
    assert {verb for flag in FLAGS for verb in flag.verbs} <= set(VERBS)
    assert {flag.key for flag in flags_of("why")} == {"help", "version", "config-dir"}
