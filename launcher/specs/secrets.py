"""Secrets, which must never be shown or stored: found by variable name and by the form of URIs."""

from __future__ import annotations

import re
from collections.abc import Mapping

RUN_SECRET = "LAUNCHER_RUN_SECRET"  # noqa: S105 - a name
"""Variable with the secret of an attempt: its ranks trust only messages that are sealed with it."""

_SECRET_WORDS = frozenset(
    ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "CREDENTIALS", "KEY", "APIKEY")
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>`]*[^\s'\"<>`:,.)]")
_USER = re.compile(r"(?<=://)[^/@\s]+@")
_PASSWORD = re.compile(r"://[^/@\s:]*:[^/@\s]+@")
_HIDDEN_PARAMETER = (
    r"(?:[\w.-]*(?:token|secret|password|passwd|signature|credential|api[_-]?key|access[_-]?key|auth)"
    r"[\w.-]*|sig|key|x-(?:amz|goog)-[\w-]+)"
)
_SECRET_QUERY = re.compile(rf"([?&;]{_HIDDEN_PARAMETER}=)[^&;#\s]*", re.IGNORECASE)


def names_a_secret(variable: str) -> bool:
    """Return whether the name of a variable says that its value is a secret."""
    return not _SECRET_WORDS.isdisjoint(variable.upper().split("_"))


def holds_a_secret(uri: str) -> bool:
    """Return whether `uri` contains a password, token or signature. A user name alone is not."""
    return bool(_PASSWORD.search(uri) or _SECRET_QUERY.search(uri))


def redact(text: str) -> str:
    """Return `text` with user names, passwords, tokens and signatures in its URLs masked."""
    return _URL.sub(lambda match: _mask(match.group(), "***"), text)


def without_secrets(uri: str) -> str:
    """Return `uri` without credentials: the same text for every user and token."""
    return _mask(uri, "")


def mask(env: Mapping[str, str]) -> dict[str, str]:
    """Return `env` with the values of secrets, and the secrets in URIs, masked."""
    return {name: "***" if names_a_secret(name) else redact(value) for name, value in env.items()}


def _mask(url: str, mask: str) -> str:
    user = f"{mask}@" if mask else ""
    return _SECRET_QUERY.sub(rf"\g<1>{mask}", _USER.sub(user, url, count=1))
