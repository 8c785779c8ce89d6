"""Secrets are found by the names of variables and the form of URIs."""

import pytest

from launcher.specs.secrets import holds_a_secret, mask, redact, without_secrets


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


def test_a_users_name_alone_is_no_secret() -> None:
    assert not holds_a_secret("sftp://me@host/data")
    assert holds_a_secret("sftp://me:pw@host/data")
    assert holds_a_secret("https://host/f?token=x")
