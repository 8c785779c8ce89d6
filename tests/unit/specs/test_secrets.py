"""Secrets are found by the names of variables and the form of URIs."""

import json
import re
import shlex
from collections.abc import Callable

import pytest

from launcher.errors import ConfigError
from launcher.runs.command_line import quoted
from launcher.specs.secrets import (
    hide,
    mask,
    redact,
    references,
    reveal,
    without_secrets,
)
from launcher.units import shell_word


def test_secrets_are_masked_in_what_is_shown() -> None:
    shown = mask(
        {
            "HF_TOKEN": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "http_proxy": "http://me:pw@host:1",
            "TOKENIZERS_PARALLELISM": "1",
        }
    )
    assert shown == {
        "HF_TOKEN": "***",
        "AWS_SECRET_ACCESS_KEY": "***",
        "http_proxy": "http://***@host:1",
        "TOKENIZERS_PARALLELISM": "1",
    }


@pytest.mark.parametrize(
    "uri",
    [
        "https://user:s3cr3t@host/file",
        "https://s3cr3t@host/file",
        "https://host/file?token=s3cr3t",
        "https://host/file?a=1&X-Amz-Signature=s3cr3t&X-Amz-Credential=s3cr3t",
        "https://host/file?sig=s3cr3t#part",
        "https://host/f?api_key=s3cr3t;access_token=s3cr3t",
    ],
)
def test_secrets_are_masked(uri: str) -> None:
    said = redact(f"could not read {uri}: 403")
    assert "s3cr3t" not in said
    assert "***" in said
    assert said.startswith("could not read https://")
    assert said.endswith(": 403")
    assert "s3cr3t" not in without_secrets(uri)


def test_what_is_no_secret_stays() -> None:
    text = "https://host/file?version=3&page=key and s3://bucket/a@b"
    assert redact(text) == text


def test_another_token_names_the_same_place() -> None:
    one, other = "https://a:1@host/f?sig=1&v=2", "https://b:2@host/f?sig=2&v=2"
    assert without_secrets(one) == without_secrets(other)
    assert without_secrets(one) != without_secrets(one.replace("v=2", "v=3"))


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("+HF_TOKEN=hf_abcdefghijklmnop", "+HF_TOKEN=***"),
        ('+api_key = "abc def"', '+api_key = "***"'),
        ("+  password: hunter2", "+  password: ***"),
        ('+x = "ghp_0123456789abcdef"', '+x = "***"'),
        ("+url = s3://u:pw@host/x", "+url = s3://***@host/x"),
        ("+token = tokenizer.encode(x)", "+token = tokenizer.encode(x)"),
        ("+monkey=3", "+monkey=3"),
        ("`args=[--password,X,--lr,1]`", "`args=[--password,***,--lr,1]`"),
        ("error: cannot read `args=[--pwd=abc`", "error: cannot read `args=[--pwd=***"),
        ('args=["--password=Ab12\\"Leak99"]', 'args=["--password=***"]'),
        ("args=[--api_keys,ab,cd,--lr,1]", "args=[--api_keys,***,--lr,1]"),
        ("bad ['--passwords', 'ab', 'cd', '--lr']", "bad ['--passwords', '***', '--lr']"),
        ('{"passwords": ["ab", "cd"], "n": 1}', '{"passwords": ***, "n": 1}'),
        ('{"credentials": "ab", "note": "x"}', '{"credentials": "***", "note": "x"}'),
        ("args=[--credentials,ab,lr=1]", "args=[--credentials,***,lr=1]"),
        ("--passwords=ab,cd --lr=1", "--passwords=*** --lr=1"),
        ("args=[--passwords=[ab,cd],--lr,1]", "args=[--passwords=***,--lr,1]"),
        ("error: cannot read `--password -hunter2A`", "error: cannot read `--password ***"),
        ("a format like {token: <8} or {password:str}", None),
        ("http://h/?key=users", None),
        ("password: str", None),
        ("`--sep_token python`: use `python -m launcher resume g1`", None),
    ],
)
def test_secrets_in_a_diff_or_a_message_are_hidden(text: str, hidden: str | None) -> None:
    hidden = text if hidden is None else hidden
    assert hide(text, {}) == hidden
    assert hide(hidden, {}) == hidden


def test_the_values_of_secret_variables_are_hidden_anywhere() -> None:
    environ = {
        "HF_TOKEN": "value-4711",
        "LAUNCHER_SECRET_PASSWORD": "hunter2",
        "LAUNCHER_SECRET_PIN": "1",
        "SORT_KEY": "accuracy",
        "SSH_KEY": "/home/me/key1",
        "OTHER": "value-4712",
    }
    text = "value-4711 hunter2 hunter22 1 accuracy /home/me/key1 value-4712"
    assert hide(text, environ) == (
        "***HF_TOKEN*** ***LAUNCHER_SECRET_PASSWORD*** hunter22 1 accuracy /home/me/key1 value-4712"
    )


@pytest.mark.parametrize("value", ["python", "USER:", "default", "my-model", "1234567", "a/b_c.d"])
def test_an_ordinary_word_is_not_searched_for(value: str) -> None:
    text = f"{value} -m launcher resume g1: {value}"
    assert hide(text, {"LAUNCHER_SECRET_AUTH_TOKEN": value}) == text


@pytest.mark.parametrize(
    "value",
    [
        "first-7\nsecond-8",
        "back\\slash-9",
        "it's-1-x",
        'quo"te-2',
        "'\"both-3\\\t",
        "-----BEGIN KEY-----\nMIIEow7\n-----END KEY-----",
        "pä55wörd",
    ],
)
@pytest.mark.parametrize(
    "written",
    [
        str,
        repr,
        ascii,
        json.dumps,
        shlex.quote,
        quoted,
        shell_word,
        lambda value: repr(["--x", f'--y="{value}"']),
        lambda value: repr(f"{value} and '"),
        lambda value: json.dumps({"argv": repr([value])}),
        lambda value: shlex.quote(quoted(value)),
        lambda value: shlex.quote(json.dumps(value)),
        lambda value: f"bad line: {value.splitlines()[-1]}",
    ],
)
def test_a_known_secret_is_hidden_however_it_is_quoted(
    value: str, written: Callable[[str], str]
) -> None:
    shown = hide(f"see {written(value)} end", {"LAUNCHER_SECRET_X": value})
    assert "***LAUNCHER_SECRET_X***" in shown
    digits = re.sub(r"\D", "", value)
    assert not [digit for digit in digits if digit in shown]


def test_references_are_replaced_by_the_values_exactly() -> None:
    tree = {"a": ["--x=***HF_TOKEN***", "***Note***", 3], "b": "u:***LAUNCHER_SECRET_B***@h"}
    environ = {"HF_TOKEN": "\\1 'x' ***", "LAUNCHER_SECRET_B": "b", "Note": "wrong"}
    assert references(tree) == {"HF_TOKEN", "LAUNCHER_SECRET_B"}
    assert reveal(tree, environ) == {
        "a": ["--x=\\1 'x' ***", "***Note***", 3],
        "b": "u:b@h",
    }


@pytest.mark.parametrize("environ", [{}, {"HF_TOKEN": ""}])
def test_a_program_never_gets_a_reference_instead_of_a_secret(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="HF_TOKEN is not set") as caught:
        reveal(["--x=***HF_TOKEN***"], environ)
    assert "export HF_TOKEN" in caught.value.hint
