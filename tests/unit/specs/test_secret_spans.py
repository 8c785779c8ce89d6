"""Secrets are found in texts, arguments and trees, and replaced without touching the rest."""

import shlex
from typing import Any

import pytest

from launcher.specs.secret_spans import find, replace_in
from launcher.specs.secrets import hide

S = "aB3dE6gH9jK2mN5p"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nAAbb\n-----END RSA PRIVATE KEY-----"


def masked(value: Any) -> Any:
    return replace_in(value, lambda label, secret: "***")


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        ([f"--hf_token={S}", "--lr", "1"], ["--hf_token=***", "--lr", "1"]),
        (["--password", "X", "--lr", "1"], ["--password", "***", "--lr", "1"]),
        (["--password", "two words, and more"], ["--password", "***"]),
        (["--password=a=b,c d"], ["--password=***"]),
        (["--password", "--lr", "1"], ["--password", "--lr", "1"]),
        (["-token", S], ["-token", "***"]),
        (["--password", "-hunter2A", "--lr"], ["--password", "***", "--lr"]),
        (["--password", "-lr", "1"], ["--password", "-lr", "1"]),
        (["--api_keys", "A", "B", "--lr", "1"], ["--api_keys", "***", "***", "--lr", "1"]),
        (["--api_keys", "A", "B", "--lr=1", "x"], ["--api_keys", "***", "***", "--lr=1", "x"]),
        (["--password", "--lr=1", "x"], ["--password", "--lr=1", "x"]),
        (["--login=bob:B0bsPassw", "--login=bob2024x"], ["--login=***", "--login=bob2024x"]),
        (["--passwords=[a,b]", "x"], ["--passwords=***", "x"]),
        (["--wandb.key=X", "--sort.key=X"], ["--wandb.key=***", "--sort.key=X"]),
        (["--eos_token", "EndOfText", "x"], ["--eos_token", "EndOfText", "x"]),
        ([f"+logger.token={S}"], ["+logger.token=***"]),
        ([f"AWS_SECRET_ACCESS_KEY={S}"], ["AWS_SECRET_ACCESS_KEY=***"]),
        ([f"--env=HF_TOKEN={S}"], ["--env=HF_TOKEN=***"]),
        (["--env", f"HF_TOKEN={S}"], ["--env", "HF_TOKEN=***"]),
        ([f"s3://AKID:{S}/+@bucket/x"], [f"s3://AKID:{S}/+@bucket/x"]),
        ([f"s3://key:{S}@bucket/x"], ["s3://key:***@bucket/x"]),
        (["https://user:p@w@host/x"], ["https://user:***@host/x"]),
        ([f"https://{S}@host/x"], ["https://***@host/x"]),
        ([f"--url=https://h/f?a=1&X-Amz-Signature={S}&b=2"], None),
        (["--header", f"Authorization: Bearer {S}"], ["--header", "Authorization: ***"]),
        ([f"Bearer {S}"], ["Bearer ***"]),
        ([f'{{"user": "me", "password": "{S}"}}'], ['{"user": "me", "password": "***"}']),
        ([f"{{user:me,password:{S}}}"], ["{user:me,password:***}"]),
        ([f"run --password {S} now"], ["run --password *** now"]),
        ([f"AccountName=a;AccountKey={S}==;x=y"], ["AccountName=a;AccountKey=***;x=y"]),
        ([PEM], ["-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----"]),
        ([f"a {S} b"], [f"a {S} b"]),
    ],
)
def test_secrets_among_arguments(args: list[str], shown: list[str] | None) -> None:
    if shown is None:
        shown = ["--url=https://h/f?a=1&X-Amz-Signature=***&b=2"]
    assert masked(args) == shown
    assert masked(shown) == shown


def test_secrets_in_a_tree_are_found_by_their_keys() -> None:
    tree = {"db": {"password": "X", "port": 1}, "tokens": ["a", "--token", S], "max_tokens": 3}
    assert masked(tree) == {
        "db": {"password": "***", "port": 1},
        "tokens": ["a", "--token", "***"],
        "max_tokens": 3,
    }
    assert masked({"passwords": ["a", "b"], "wandb": {"key": "X"}, "sort": {"key": "X"}}) == {
        "passwords": ["***", "***"],
        "wandb": {"key": "***"},
        "sort": {"key": "X"},
    }


@pytest.mark.parametrize("argument", [["--password", "two, words"], ['{"password": "X"}']])
def test_secrets_are_found_in_a_text_that_was_quoted_twice(argument: list[str]) -> None:
    typed = f"args={argument}".replace('"', r"\"")
    text = shlex.join(["launcher", f'{typed}"'])
    assert "two, words" not in masked(text)
    assert "X" not in masked(text)


def test_spans_that_overlap_are_one() -> None:
    text = f"--password=x://u:{S}@h"
    (span,) = find(text)
    assert text[: span.start] == "--password="
    assert span.end == len(text)


@pytest.mark.parametrize("part", ["x", "a-", "a.", "a=", "?x", "--a ", '"a', "x:", "hf_", "eyJ"])
def test_a_text_without_structure_is_searched_once(part: str) -> None:
    text = part * 100_000  # hours if the time were quadratic
    assert hide(text, {}) == text


def test_a_large_text_takes_time_in_proportion() -> None:
    text = '"passwords": [' * 4_000
    assert hide(text, {}) == text
    assert hide("passwords=[" * 4_000, {}) == "passwords=***"
    text = "+    password: [\n" * 4_000 + '+"""\n' * 4_000 + "-" * 20_000 + "a=" * 20_000
    assert len(find(text)) == 4_000
