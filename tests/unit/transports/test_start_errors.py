"""Texts that OpenSSH 9.2 wrote."""

from __future__ import annotations

import pytest

from launcher.specs import Node
from launcher.transports.start_errors import explain

NODE = Node(node_rank=1, name="gpu1", address="gpu1", ssh="alice@gpu1", ssh_port=2222, slots=1)

CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Offending ED25519 key in /home/alice/.ssh/known_hosts:7
Host key verification failed.
"""


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (CHANGED, "ssh-keygen -R '[gpu1]:2222'"),
        ("Host key verification failed.", "log in once by hand, `ssh -p 2222 alice@gpu1`"),
        ("alice@gpu1: Permission denied (publickey).", "ssh-copy-id -p 2222 alice@gpu1"),
        ("ssh: Could not resolve hostname gpu1: Name or service not known", "check the spelling"),
        ("ssh: connect to host gpu1 port 2222: Connection refused", "is the machine up"),
        ("ssh: connect to host gpu1 port 2222: No route to host", "is the machine up"),
        ("Python 3.8.18 is too old: it takes 3.10 or newer", "cluster.python="),
        ("Connection timed out during banner exchange", "is the machine up"),
    ],
)
def test_every_failure_says_what_to_do(words: str, hint: str) -> None:
    failure = explain(NODE, "/python", code=255, words=words)
    assert hint in failure.hint
    assert failure.problem == words.strip().splitlines()[-1]
    assert not failure.passing


@pytest.mark.parametrize(
    "words",
    [
        "kex_exchange_identification: Connection closed by remote host\r\n",
        "kex_exchange_identification: read: Connection reset by peer\n",
        "Connection closed by 10.0.0.1 port 22",
    ],
)
def test_a_server_with_too_many_guests_is_tried_again(words: str) -> None:
    assert explain(NODE, "/python", code=255, words=words).passing


def test_a_server_that_does_not_want_us_is_not_tried_again() -> None:
    words = "Access denied by pam_slurm_adopt: you have no active jobs on this node\n"
    assert not explain(
        NODE, "/python", code=255, words=f"{words}Connection closed by 1.2.3.4"
    ).passing


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (127, "bash: line 1: exec: /python: not found"),
        (126, "bash: line 1: /python: Permission denied"),
        (1, "/python: Command not found."),  # csh
        (127, "fish: Unknown command: /python\nexec /python -c '\"is too old\"'\n     ^~~~~~^"),
    ],
)
def test_a_missing_interpreter_is_recognised_whatever_the_shell(code: int, words: str) -> None:
    failure = explain(NODE, "/python", code=code, words=words)
    assert failure.problem == "it has no `/python`"
    assert "cluster.python=" in failure.hint


def test_a_login_that_just_ends_is_told_with_its_exit_code() -> None:
    failure = explain(NODE, "/python", code=1, words="")
    assert failure.problem == "the login ended with exit code 1"
    assert failure.hint == "try it by hand: ssh -p 2222 alice@gpu1 true"
