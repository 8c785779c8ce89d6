"""Which names and values are secrets, and which only look similar."""

import pytest

from launcher.specs.secret_kinds import is_secret
from launcher.specs.secret_spans import find

RANDOM = "aB3dE6gH9jK2mN5p"


@pytest.mark.parametrize(
    "name",
    [
        *("token", "hf_token", "hf-token", "hfToken", "hftoken", "HF_TOKEN", "logger.token"),
        *("auth_token", "access_token", "use_auth_token", "wandb.api_key", "apikey", "APIKey"),
        *("password", "db_password", "dbPassword", "PGPASSWORD", "passwd", "pwd", "passphrase"),
        *("secret", "client_secret", "AWS_SECRET_ACCESS_KEY", "access_key", "private_key"),
        *("credential", "credentials", "auth", "private", "authorization", "WANDB_KEY"),
        *("password2", "github_pat", "pat", "api_keys", "passwords", "tokens", "hf_tokens"),
        *("wandb.key", "access.keys", "my_token"),
    ],
)
def test_these_names_have_secrets(name: str) -> None:
    assert is_secret(name, RANDOM)


@pytest.mark.parametrize(
    "name",
    [
        *("tokenizer", "max_tokens", "num_tokens", "token_type", "token_id", "token_file"),
        *("monkey", "key", "sort_key", "image_key", "public_key", "num_key_value_heads"),
        *("author", "authentication_mode", "secretary", "password_file", "password-length"),
        *("private_key_path", "passes", "bypass", "compass", "credentials_dir", "lr", "name"),
    ],
)
def test_these_names_have_none(name: str) -> None:
    assert not is_secret(name, RANDOM)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("pad_token", text) for text in ("[PAD]", "<pad>", "<|endoftext|>", "PAD", "0")),
        *(("token", text) for text in ("", "true", "None", "512", "/run/secrets/token", "<s>")),
        *(("private", text) for text in ("true", "everything")),
        *(("auth", text) for text in ("basic", "none")),
        *(("placeholder_token", text) for text in ("sks", "<cat-toy>", "painting")),
        *(("eos_token", text) for text in ("EndOfText", "IMAGE1234", "sks1dreambooth")),
        *(("session_token", text) for text in ("begin", "USER:", "python", "<8")),
        *(("hub_token", "hf"), ("tokens", "a,b"), ("github_pat", "main")),
        *(("password", text) for text in ("str", "<8", "${oc.env:HF_TOKEN}")),
        *(("token", "abc123456.py"), ("login", "someone2024")),
        *(("credentials", text) for text in ("~/key.json", "service.json", "./a/b")),
        ("password", "none"),
        ("hf_token", "***HF_TOKEN***"),
    ],
)
def test_these_values_are_no_secrets_whatever_their_name(name: str, value: str) -> None:
    assert not is_secret(name, value)


@pytest.mark.parametrize("value", ["A,B", "[a,b]", "['a', 'b']"])
def test_a_plural_has_secrets_in_a_list(value: str) -> None:
    assert is_secret("passwords", value)
    assert is_secret("api_keys", value)


@pytest.mark.parametrize("value", ["X", "12345678", "/abc+def", "hunter two", "it's"])
def test_any_value_can_be_a_password(value: str) -> None:
    assert is_secret("password", value)


@pytest.mark.parametrize(
    "value",
    [
        "hf_abcdefghijklmnopqrstuvwxyz",
        "ghp_0123456789abcdefghij",
        "github_pat_11ABCDEFG0123456789_abcdefghij",
        "glpat-0123456789abcdefghij",
        "AKIAIOSFODNN7EXAMPLE",
        "xoxb-123456789012-abcdefghijkl",
        "npm_0123456789abcdefghij0123456789abcdef",
        "pypi-AgEIcHlwaS5vcmcCJDAwMDAwMDAw",
        "sk-0123456789abcdefghij",
        "sk-proj-0123456789abcdefghij",
        "sk-ant-api03-0123456789abcdefghij",
        "sk_live_0123456789abcdefghij",
        "AIza" + 35 * "x",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.abcdefghijklmno",
    ],
)
@pytest.mark.parametrize("around", ["{}", "x {} y", "x={}", '"{}"', "--where={},b", "({})"])
def test_documented_tokens_are_found_by_their_shape(value: str, around: str) -> None:
    text = around.format(value)
    (span,) = find(text)
    assert text[span.start : span.end] == value


@pytest.mark.parametrize(
    "text",
    [
        "hf_hub_download_with_retries",
        "hf://org/model-1b",
        "sk-learn-random-forest-v2",
        "sk-transformers12abcdef",
        "sklearn.ensemble",
        "pypi-attestations-0.0.28-py3-none",
        "9fceb02d0ae598e95dc970b74767f19372d61af8",
        "google/electra-small-discriminator",
        "https://me@host/x",
        "git@github.com:org/repo.git",
        "s3://bucket/a@b",
        "https://host/file?version=3&page=key",
        "--lr=1e-4 --tokenizer=bert --max_tokens=512 --pad_token=[PAD]",
        "-p 8080",
        '{"max_tokens": "12", "name": "x"}',
    ],
)
def test_ordinary_text_has_no_secret(text: str) -> None:
    assert find(text) == []
