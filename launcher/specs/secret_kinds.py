"""What counts as a secret: by the name of a value, and by the shape of the value itself.

A name decides only together with its value: `--pad_token [PAD]`, `--max_tokens 512` and
`--token-file PATH` are ordinary values.
"""

from __future__ import annotations

import re

_VARIABLE_WORDS = frozenset(
    ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "CREDENTIALS", "KEY", "APIKEY")
)
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")

# The end of a name, as lower-case words. Any value below such a name is a secret ...
_PASSWORD = re.compile(
    r"(?:^| |[a-z])(?:passwords?|passwd|passphrases?)$|"
    r"(?:^| )(?:\w*secrets?|secret access keys?)$"
)
# ... here unless it is a number, a path, or in brackets ...
_KEY = re.compile(
    r"(?:^| )pwd$|(?:^| |[a-z])(?:apikey|secretkey|accesskey|privatekey)s?$|"
    r"(?:^| )(?:credentials?|authorization)$|"
    r"(?:^| )(?:api|access|secret|private|account|auth|signing|encryption|client|deploy|service|"
    r"storage|wandb|openai|anthropic|comet|neptune) keys?$"
)
# ... here only if it looks random ...
_TOKEN = re.compile(
    r"^tokens?$|(?:^| )(?:auth|private|pass|pat|login)$|"
    r"(?:^| )(?:hf|hub|hugging ?face|auth|access|api|bearer|refresh|session|security|wandb|github|"
    r"gitlab|git|slack|app|oauth|comet|neptune|logger|user|login) ?tokens?$"
)
# ... and here only if it is long, too: other tokens are words of a tokenizer (`eos_token`).
_OTHER_TOKEN = re.compile(r"(?:^| )token$")
_NO_VALUE = re.compile(
    r"(?i)|true|false|yes|no|on|off|none|null|auto|\*{3}\w+\*{3}|"
    r"\$\{[\w.:,-]+\}?|"  # a reference of Hydra, before it is resolved
    r"str|string|int|float|bool|bytes|[<>^]\d+s?"  # types, and the rest of a `{name: <8}`
)
_NUMBER = re.compile(r"[+-]?[\d._]+(?:e[+-]?\d+)?")
_BRACKETED = re.compile(r"<.*>|\[.*\]|\{.*\}|\$.*|%\w+%", re.DOTALL)
_PATH = re.compile(
    r"(?:/|\./|\.\./|~)[^\s]*|[\w./-]+\.(?:json|ya?ml|txt|pem|key|toml|ini|cfg|env|py|sh)"
)
_LONG_ENOUGH = 8
_LONG = 16
_SHORTEST = 6
"""A shorter secret could be a part of any text, so it is found only by its place."""
_PLAIN = re.compile(r"[\w./:-]*")

SHAPES = (
    # Each has its public documentation. The minimal lengths keep ordinary names out.
    # https://huggingface.co/docs/hub/security-tokens
    ("hugging_face_token", r"hf_[A-Za-z0-9]{16,}|api_org_[A-Za-z0-9]{16,}"),
    # https://docs.github.com/authentication/keeping-your-account-and-data-secure/about-authentication-to-github
    ("github_token", r"gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,}"),
    # https://docs.gitlab.com/security/tokens/ (token prefixes)
    (
        "gitlab_token",
        r"gl(?:pat|oas|dt|rt|rtr|cbt|ptt|ft|imt|agent|soat|ffct|wt)-[A-Za-z0-9_.-]{16,}",
    ),
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html (unique prefixes)
    ("aws_access_key", r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
    # https://docs.slack.dev/authentication/tokens
    ("slack_token", r"xox[abceoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}"),
    # https://docs.npmjs.com/about-access-tokens, https://github.blog/2021-09-23-announcing-npms-new-access-token-format/
    ("npm_token", r"npm_[A-Za-z0-9]{30,}"),
    # PyPI, help page, "API tokens": a macaroon in base64, so every one begins with the same bytes
    ("pypi_token", r"pypi-AgE[A-Za-z0-9_-]{16,}"),
    # https://platform.openai.com/docs/api-reference/authentication, https://docs.anthropic.com/en/api
    (
        "api_key",
        r"sk-(?=[\w-]*\d)(?=[\w-]*[A-Z]|(?:[a-z_-]*\d){4})(?:[a-z]+\d*-)*(?=[\w-]*[A-Za-z0-9]{12})[A-Za-z0-9_-]{16,}",
    ),
    # https://docs.stripe.com/keys
    ("stripe_key", r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    # https://cloud.google.com/docs/authentication/api-keys
    ("google_api_key", r"AIza[A-Za-z0-9_-]{35}"),
    # https://www.rfc-editor.org/rfc/rfc7519: two JSON objects in base64url, and a signature
    ("json_web_token", r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
)
"""The shapes of tokens that their issuers document: label and pattern."""


def names_a_secret(variable: str) -> bool:
    """Return whether the name of an environment variable says that its value is a secret."""
    return not _VARIABLE_WORDS.isdisjoint(variable.upper().split("_"))


def is_secret(name: str, value: str) -> bool:
    """Return whether `value` is a secret because its option, key or field is called `name`.

    Below a plural, it may be a list: `--api_keys=A,B`.
    """
    if not may_be_secret(name):
        return False
    if is_plural(name):
        return any(_is_secret(name, part) for part in re.split(r"[\s,'\"()\[\]]+", value))
    return _is_secret(name, value)


def _is_secret(name: str, value: str) -> bool:
    if _NO_VALUE.fullmatch(value):
        return False
    if names_a_password(name):
        return True
    if _NUMBER.fullmatch(value) or _BRACKETED.fullmatch(value) or _PATH.fullmatch(value):
        return False
    words = _words(name)
    if _KEY.search(words):
        return True
    if words.endswith("login") and ":" not in value:  # `--login=NAME`, not `NAME:PASSWORD`
        return False
    is_long = len(value) >= _LONG and re.search(r"\d", value)
    return looks_random(value) and bool(_TOKEN.search(words) or _is_variable(name) or is_long)


def may_be_secret(name: str) -> bool:
    """Return whether some value below `name` is a secret."""
    words = _words(name)
    named = (each.search(words) for each in (_PASSWORD, _KEY, _TOKEN, _OTHER_TOKEN))
    return any(named) or _is_variable(name)


def _is_variable(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last.isupper() and names_a_secret(last)


def is_plural(name: str) -> bool:
    """Return whether `name` may have several values: `--passwords A B`."""
    words = _words(name)
    return words.endswith("s") and not words.endswith("pass")


def names_a_password(name: str) -> bool:
    """Return whether any value below `name` is a secret, even a number."""
    return bool(_PASSWORD.search(_words(name)))


def _words(name: str) -> str:
    """Return the last part of a dotted name in lower case, with blanks: `hf token`.

    A last part `key` says nothing alone, so it has the part before: `wandb key`.
    """
    *before, last = name.split(".")
    if before and last.lower() in ("key", "keys"):
        last = f"{before[-1]}_{last}"
    return " ".join(word.lower() for word in _WORD.findall(last))


def looks_random(value: str) -> bool:
    """Return whether `value` is one long word with letters and digits, or with both cases."""
    if len(value) < _LONG_ENOUGH or re.search(r"\s", value) or _PATH.fullmatch(value):
        return False
    return _is_mixed(value)


def is_distinctive(value: str) -> bool:
    """Return whether `value` is a secret wherever it occurs: no ordinary word, name or number."""
    return len(value) >= _SHORTEST and (not _PLAIN.fullmatch(value) or _is_mixed(value))


def _is_mixed(value: str) -> bool:
    letters = re.sub(r"[^A-Za-z]", "", value)
    mixed = letters and not letters.islower() and not letters.isupper() and not letters.istitle()
    return bool(letters and (re.search(r"\d", value) or mixed))
