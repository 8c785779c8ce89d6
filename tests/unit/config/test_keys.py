"""Every key says what it is for."""

from __future__ import annotations

from launcher.config.keys import all_keys, free_prefix, sections


def test_every_key_has_a_help_text() -> None:
    assert [key.name for key in all_keys().values() if not key.help] == []
    assert all(sections().values())


def test_help_texts_are_sentences_of_one_or_two_lines() -> None:
    for key in all_keys().values():
        assert key.help.endswith("."), key
        assert len(key.help) < 200, key


def test_what_a_key_expects_is_known_for_all() -> None:
    assert all(key.expects for key in all_keys().values())
    assert all_keys()["device"].choices == ("auto", "cpu", "cuda")
    assert all_keys()["cluster.port"].expects == "a whole number"


def test_names_below_a_free_key_are_free() -> None:
    assert free_prefix("params.a.b") == "params"
    assert free_prefix("model.options.vocab") == "model.options"
    assert free_prefix("params") is None
    assert free_prefix("train.lr") is None
