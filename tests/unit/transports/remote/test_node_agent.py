"""The node agent alone, as a child of the test."""

from __future__ import annotations

import ast
import contextlib
import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.specs import Command
from launcher.transports import remote
from launcher.transports.requests import agent_argv, agent_input, command_job, command_settings
from tests.unit.transports.conftest import marked, wait_until

pytestmark = pytest.mark.process

EXITS_WITH_5 = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True) or sys.exit(5))
print("up", flush=True)
time.sleep(600)
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
print("up", flush=True)
while True: time.sleep(1)
"""


class RunningAgent:
    """A node agent, and both ends of its channel."""

    def __init__(self, folder: Path, code: str, mark: str, *, grace_s: str, lease_s: float) -> None:
        name, _, value = mark.partition("=")
        command = Command(
            node_rank=0,
            argv=(sys.executable, "-c", code),
            env={name: value, "LAUNCHER_GRACE_S": grace_s},
            cwd=str(folder),
        )
        self.log = folder / "out.log"
        common = {**command_settings(lost_after_s=600), "lease_s": lease_s}
        job = command_job(command, self.log, {})
        self.process = subprocess.Popen(
            agent_argv(sys.executable), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
        )
        assert self.process.stdin is not None
        self.process.stdin.write(agent_input("here", common, {"here": job}))
        self.process.stdin.flush()

    def messages(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() not in (b"", remote.HELLO):
                yield json.loads(json.loads(line)["part"])

    def ping(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b'{"to": null, "ping": true}\n')
        self.process.stdin.flush()

    def end_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def is_up(self) -> bool:
        return self.log.exists() and "up" in self.log.read_text()

    def got_sigterm(self) -> bool:
        return "asked" in self.log.read_text()


@contextlib.contextmanager
def running(
    folder: Path, code: str, mark: str, *, grace_s: str = "600", lease_s: float = 600
) -> Iterator[RunningAgent]:
    agent = RunningAgent(folder, code, mark, grace_s=grace_s, lease_s=lease_s)
    try:
        wait_until("the command", agent.is_up)
        yield agent
    finally:
        agent.process.kill()
        agent.process.wait()
        for end in (agent.process.stdin, agent.process.stdout):
            assert end is not None
            end.close()


def test_when_stdin_ends_the_command_gets_its_grace_period(tmp_path: Path, mark: str) -> None:
    with running(tmp_path, EXITS_WITH_5, mark) as agent:
        agent.end_stdin()
        messages = list(agent.messages())
        assert agent.got_sigterm()
        assert messages[-2:] == [{"exit": 5}, {"left": []}]


def test_a_command_that_does_not_exit_within_its_grace_period_is_killed(
    tmp_path: Path, mark: str
) -> None:
    with running(tmp_path, DEAF, mark, grace_s="-4.5") as agent:
        agent.end_stdin()
        messages = list(agent.messages())
        assert agent.got_sigterm()
        assert messages[-2:] == [{"exit": -9}, {"left": []}]
        assert not marked(mark)


def test_after_a_freeze_the_lease_is_over_though_pings_have_arrived(
    tmp_path: Path, mark: str
) -> None:
    with running(tmp_path, DEAF, mark, lease_s=3) as agent:
        agent.process.send_signal(signal.SIGSTOP)
        frozen = time.monotonic()
        while time.monotonic() - frozen < 4:  # the freeze itself, not a wait for anything
            agent.ping()
            time.sleep(0.5)
        agent.process.send_signal(signal.SIGCONT)
        messages = list(agent.messages())
        assert messages[-2:] == [{"exit": -9}, {"left": []}]
        assert not agent.got_sigterm()
        assert not marked(mark)


def test_sigterm_to_the_agent_goes_to_its_command(tmp_path: Path, mark: str) -> None:
    with running(tmp_path, EXITS_WITH_5, mark) as agent:
        agent.process.terminate()
        assert next(each for each in agent.messages() if "exit" in each) == {"exit": 5}


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_other_signals_disturb_neither_of_them(
    tmp_path: Path, mark: str, number: signal.Signals
) -> None:
    with running(tmp_path, EXITS_WITH_5, mark) as agent:
        agent.process.send_signal(number)
        agent.ping()
        assert next(message for message in agent.messages() if "heartbeat" in message)
        assert len(marked(mark)) == 1


def test_the_command_inherits_no_ignored_signals(tmp_path: Path, mark: str) -> None:
    code = "print(open('/proc/self/status').read(), 'up', flush=True); import time; time.sleep(600)"
    with running(tmp_path, code, mark) as agent:
        ignored = next(
            line for line in agent.log.read_text().splitlines() if line.startswith("SigIgn")
        )
        # Python itself ignores SIGPIPE and SIGXFSZ.
        of_python = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
        assert int(ignored.split()[1], 16) & ~of_python == 0


def test_modules_in_the_folder_where_it_starts_are_not_imported(tmp_path: Path, mark: str) -> None:
    for name in ("json", "queue", "signal", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')")
    code = "import time; print('up', flush=True); time.sleep(600)"
    # Its command is an ordinary Python: these files may be its own modules.
    with running(tmp_path, f"import sys; sys.path.pop(0); {code}", mark) as agent:
        assert next(iter(agent.messages())) == {"ready": agent.process.pid}


def test_a_request_that_never_comes_is_not_an_error(tmp_path: Path) -> None:
    program = remote.source("node_agent").encode()
    done = subprocess.run(
        agent_argv(sys.executable), input=program, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, remote.HELLO, b"")


@pytest.mark.parametrize("redirect", ["<&-", "< /dev/null"])
def test_a_login_that_closes_the_input_says_so(redirect: str) -> None:
    words = shlex.join(agent_argv(sys.executable))
    done = subprocess.run(
        ["bash", "-c", f"exec {redirect}; exec {words}"], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, b"its standard input is closed\n")


@pytest.mark.parametrize("name", ["node_agent", "run_processes"])
def test_programs_for_the_nodes_need_nothing_but_python_3_11(name: str) -> None:
    tree = ast.parse(remote.source(name), feature_version=(3, 11))
    imported = {
        alias.name
        for each in ast.walk(tree)
        if isinstance(each, ast.Import)
        for alias in each.names
    } | {each.module or "" for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)}
    assert {each.partition(".")[0] for each in imported} <= sys.stdlib_module_names


def test_the_bootstrap_has_no_character_that_a_shell_interprets() -> None:
    assert set(remote.agent_bootstrap(b"x" * 9999)).isdisjoint("\n!'$`\\")


def test_the_bootstrap_does_not_contain_the_hello() -> None:
    assert remote.HELLO.decode() not in remote.agent_bootstrap(b"x")
