"""Messages of OpenSSH 9.2."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, cast

import pytest

from launcher.specs import Command, Node
from launcher.transports.channel import Channel, RemoteProcess
from launcher.transports.start_errors import end_all, explain, no_hello

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
        ("Python 3.8.18 is too old: 3.11 or newer is required", "cluster.python="),
        ("Connection timed out during banner exchange", "is the machine up"),
        ("its standard input is closed", "exec <"),
        ("OSError: [Errno 11] Resource temporarily unavailable", "ulimit -a"),
    ],
)
def test_every_failure_says_what_to_do(words: str, hint: str) -> None:
    failure = explain(NODE, "/python", code=255, stderr=words)
    assert hint in failure.hint
    assert failure.problem == words.strip().splitlines()[-1]
    assert not failure.temporary


@pytest.mark.parametrize(
    "words",
    [
        "kex_exchange_identification: Connection closed by remote host\r\n",
        "kex_exchange_identification: read: Connection reset by peer\n",
        "Connection closed by 10.0.0.1 port 22",
    ],
)
def test_a_server_with_too_many_logins_is_tried_again(words: str) -> None:
    assert explain(NODE, "/python", code=255, stderr=words).temporary


def test_a_server_that_refuses_us_is_not_tried_again() -> None:
    words = "Access denied by pam_slurm_adopt: you have no active jobs on this node\n"
    assert not explain(
        NODE, "/python", code=255, stderr=f"{words}Connection closed by 1.2.3.4"
    ).temporary


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
    failure = explain(NODE, "/python", code=code, stderr=words)
    assert failure.problem == "it has no `/python`"
    assert "cluster.python=" in failure.hint


def test_an_interpreter_that_lacks_a_library_is_not_reported_as_missing() -> None:
    words = "/python: error while loading shared libraries: libpython3.11.so.1.0: cannot open"
    failure = explain(NODE, "/python", code=127, stderr=words)
    assert failure.problem == words
    assert "cluster.python=" in failure.hint


@pytest.mark.parametrize(
    ("code", "stderr", "greeting", "said"),
    [
        (0, "", "", ""),
        (7, "", "", ""),
        (1, "", "This account is not available.", ": This account is not available."),
        (1, "/home/a/.bashrc: line 2: X: unbound variable", "Hi", ": /home/a/.bashrc: line 2: X: "),
        (255, "", "", ""),  # a signal ended the shell, or `exit 255`
        (127, "/home/a/.bashrc: line 1: exec: fsh: not found", "", ": /home/a/.bashrc: line 1: "),
    ],
)
def test_a_login_that_ends_without_our_command_names_the_start_file(
    code: int, stderr: str, greeting: str, said: str
) -> None:
    failure = explain(NODE, "/python", code=code, stderr=stderr, greeting=greeting)
    problem = f"its login shell ended with exit code {code} and did not run our command{said}"
    assert failure.problem.startswith(problem)
    assert "~/.bashrc" in failure.hint
    assert "case $- in *i*) ;; *) return ;; esac" in failure.hint


def test_a_login_that_hangs_names_the_start_file_and_what_it_said() -> None:
    failure = no_hello(30, "Welcome\nPress return:\n")
    assert failure.problem == ("its login shell did not run our command within 30 s: Press return:")
    assert "~/.bashrc" in failure.hint


def test_a_failure_of_ssh_itself_says_how_to_try_it() -> None:
    failure = explain(NODE, "/python", code=255, stderr="strange")
    assert (failure.problem, failure.hint) == (
        "strange",
        "try it by hand: ssh -p 2222 alice@gpu1 true",
    )


class EndsItsCommandFirst:
    """A channel to a node agent whose command ends before the processes that it started."""

    process: RemoteProcess

    def send(self, message: Mapping[str, Any]) -> None:
        assert message["kill"]
        self.process.note({"exit": -9})
        threading.Timer(0.1, self.process.note, [{"left": []}]).start()


def test_commands_of_a_failed_start_are_waited_for_until_none_of_their_processes_is_left() -> None:
    channel = EndsItsCommandFirst()
    command = Command(node_rank=1, argv=("train",), cwd="/")
    channel.process = process = RemoteProcess(NODE, command, cast("Channel", channel))
    process.note({"started": 17})
    end_all([process])
    assert process.poll() == -9
    assert process.is_over
