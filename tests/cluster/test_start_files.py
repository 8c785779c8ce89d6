"""Logins whose start files or shells are odd: harmless, or named before anything is sent."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.programs.start_files import ARGUMENT
from tests.lab import Lab

HOSTS = ("host1", "host2")
PROGRAM = Path(__file__).parent / "programs" / "start_files.py"
FIRST_ID = 3000
BASH, FISH, ZSH, TCSH = "/bin/bash", "/usr/bin/fish", "/usr/bin/zsh", "/usr/bin/tcsh"
FILES = {
    BASH: ".bashrc",
    FISH: ".config/fish/config.fish",
    ZSH: ".zshenv",
    TCSH: ".tcshrc",
}
"""Shell of an account -> the start file that it reads for `ssh HOST COMMAND`."""

HARMLESS = {
    "nothing": (BASH, ""),
    "prints_much": (BASH, "seq 20000; printf 'no end of line'"),
    "prints_errors": (BASH, 'seq 20000 >&2; conda activate nowhere; [ -z "$PS1" ] && echo'),
    "prints_json": (BASH, """echo '{"node": "prints_json", "part": "{}", "number": 0, "of": 1}'"""),
    "closes_quotes": (BASH, "echo 'it'; echo \"'\" '(' '`'"),
    "unset": (BASH, "set -u; unset HOME; IFS=x; echo $NOWHERE"),
    "fails_late": (BASH, "set -e"),
    "traces": (BASH, "exec 2>&1; set -xv"),
    "traces_commands": (BASH, "trap 'echo $BASH_COMMAND' DEBUG"),
    "traps": (BASH, "trap 'echo bye' EXIT; trap '' HUP INT QUIT USR1 USR2 TERM"),
    "aliases": (BASH, "shopt -s expand_aliases; alias python=false python3=false"),
    "umask_077": (BASH, "umask 077"),
    "umask_777": (BASH, "umask 777"),
    "of_python": (
        BASH,
        "export PYTHONHOME=/nowhere PYTHONSTARTUP=/nowhere PYTHONWARNINGS=error PYTHONINSPECT=1",
    ),
    "pythonpath": (BASH, "export PYTHONPATH=/nowhere"),
    "elsewhere": (BASH, "mkdir -p /tmp/gone; cd /tmp/gone; rmdir /tmp/gone"),
    "no_path": (BASH, "export PATH=/nowhere LD_PRELOAD=/nowhere.so"),
    "tmout": (BASH, "export TMOUT=1; readonly TMOUT; read -t 1 answer"),
    "locale": (BASH, "export LANG=xx_YY LC_ALL=tlh_KX.ISO-8859-1 LC_CTYPE=C"),
    "posix": (BASH, "export LC_ALL=POSIX PYTHONCOERCECLOCALE=0 PYTHONUTF8=0"),
    "broken": (BASH, "if then fi ("),
    "tmux": (BASH, "tmux attach; screen -r"),
    "returns": (BASH, "case $- in *i*) ;; *) return ;; esac; exec cat"),
    "returns_zsh": (ZSH, "[[ -o interactive ]] || return\nexec cat"),
    "returns_fish": (FISH, "status is-interactive; or return\nexec cat"),
    "returns_tcsh": (TCSH, "if (! $?prompt) exit\nexec cat"),
    "slow": (BASH, "sleep 6"),
    "dash": ("/bin/dash", ""),
    "fish": (FISH, "echo hello; set -x PYTHONHOME /nowhere"),
    "zsh": (ZSH, "echo hello; setopt noclobber nomatch; umask 077; alias -g python=false"),
    "tcsh": (TCSH, "echo hello; alias python false; set noglob; umask 077"),
}
HANGS = {
    "exec_fish": (BASH, "exec fish"),
    "exec_tcsh": (BASH, "exec tcsh"),
    "exec_zsh": (BASH, "exec zsh"),
    "exec_sh": (BASH, "exec sh"),
    "exec_python": (BASH, "exec python3"),
    "bash_in_bash": (BASH, "bash"),
    "ssh_agent": (BASH, "exec ssh-agent bash"),
    "newgrp": (BASH, "newgrp"),
    "cat": (BASH, "cat > $HOME/received"),
    "read": (BASH, 'read answer; echo "$answer" > $HOME/received'),
    "tee": (BASH, "exec tee $HOME/received"),
    "asks": (BASH, "echo; echo 'Press return to go on'; read answer"),
    "prints_forever": (BASH, "yes"),
    "prints_one_line_forever": (BASH, "tr '\\0' x < /dev/zero"),
    "very_slow": (BASH, "sleep 600"),
    "output_away": (BASH, "exec > /dev/null"),
    "output_to_errors": (BASH, "exec >&2"),
    "output_closed": (BASH, "exec >&-"),
    "exec_bash_in_fish": (FISH, "exec bash"),
    "exec_bash_in_zsh": (ZSH, "exec bash"),
    "exec_bash_in_tcsh": (TCSH, "exec bash"),
}
ENDS = {
    "exit_0": (BASH, "exit 0", "ended with exit code 0"),
    "exit_7": (BASH, "exit 7", "ended with exit code 7"),
    "exit_127": (BASH, "exit 127", "ended with exit code 127"),
    "says_why": (BASH, "echo 'Closed for today.'; exit 1", "Closed for today."),
    "set_e": (BASH, "set -e; false", "ended with exit code 1"),
    "no_such_shell": (BASH, "exec nowhere", ".bashrc: line 1: exec: nowhere: not found"),
    "exit_255": (BASH, "exit 255", "ended with exit code 255"),
    "killed": (BASH, "kill -9 $$", "ended with exit code"),
    "exec_tmux": (BASH, "exec tmux", "ended with exit code 1"),
    "nologin": ("/usr/sbin/nologin", "", "This account is currently not available."),
    "false": ("/bin/false", "", "ended with exit code 1"),
}
OTHERS = {
    "input_closed": (BASH, "exec <&-", "its standard input is closed", "exec <"),
    "input_away": (BASH, "exec < /dev/null", "its standard input is closed", "exec <"),
    "ulimit_v": (BASH, "ulimit -v 9000", "", "ulimit -a"),
    "ulimit_n": (BASH, "ulimit -n 3", "", "ulimit -a"),
}
ALL = {**HARMLESS, **HANGS, **ENDS, **OTHERS}


@pytest.fixture(scope="session")
def answers(lab: Lab) -> Iterator[dict[str, list[Any]]]:
    """Ask an account for each case, all of them together."""
    folder = lab.shared / "start-files"
    (folder / "logs").mkdir(parents=True)
    (folder / "logs").chmod(0o1777)
    cases = [name for name, (shell, *_) in ALL.items() if Path(shell).exists()]
    hosts = {name: HOSTS[place % len(HOSTS)] for place, name in enumerate(cases)}
    for host in HOSTS:
        mine = [name for name in cases if hosts[name] == host]
        lab.run(host, ["sh", "-c", "\n".join(map(account, mine))])
    accounts = [[name, f"{user(name)}@{host}"] for name, host in hosts.items()]
    (folder / "accounts.json").write_text(json.dumps(accounts))
    lab.run(
        "head",
        [sys.executable, "-m", "tests.cluster.programs.start_files", "/shared/start-files"],
        cwd=str(Path(__file__).parents[2]),
        timeout_s=240,
    )
    yield json.loads((folder / "answers.json").read_text())
    shutil.rmtree(folder)


def user(name: str) -> str:
    return f"u_{list(ALL).index(name)}"


def account(name: str) -> str:
    """Return shell commands that make the account of a case."""
    shell, text, *_ = ALL[name]
    number, home = FIRST_ID + list(ALL).index(name), f"/home/{user(name)}"
    file = f"{home}/{FILES.get(shell, '.profile')}"
    return f"""
echo '{user(name)}:x:{number}:{number}::{home}:{shell}' >> /etc/passwd
echo '{user(name)}:x:{number}:' >> /etc/group
echo '{user(name)}:*:19000:0:99999:7:::' >> /etc/shadow
mkdir -p {home}/.ssh "$(dirname {file})"
cp ~root/.ssh/authorized_keys {home}/.ssh/
cat > {file} <<'END-OF-START-FILE'
{text}
END-OF-START-FILE
chown -R {number}:{number} {home}
chmod 755 {home}
"""


def answer_of(answers: dict[str, list[Any]], name: str) -> list[Any]:
    if name not in answers:
        pytest.skip(f"this machine has no {ALL[name][0]}")
    return answers[name]


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_start_file_changes_nothing(answers: dict[str, list[Any]], name: str) -> None:
    value, problem, _, report = answer_of(answers, name)
    assert (value, problem) == ({"got": {}}, "")
    assert report == {
        "umask": 0o027,
        "ignored": [],
        "argument": ARGUMENT,
        "python": ["PYTHONPATH"] * (name == "pythonpath")
        + ["PYTHONCOERCECLOCALE"] * (name == "posix"),
        "token": "hf_secret",
    }


@pytest.mark.parametrize("name", HANGS)
def test_a_start_file_that_waits_or_replaces_the_shell_is_named(
    lab: Lab, answers: dict[str, list[Any]], name: str
) -> None:
    value, problem, hint, _ = answer_of(answers, name)
    assert value is None
    assert "its login shell did not run our command within 30 s" in problem
    assert "~/.bashrc" in hint
    assert "case $- in *i*) ;; *) return ;; esac" in hint
    for host in HOSTS:
        received = f"cat /home/{user(name)}/received 2>/dev/null"
        assert not lab.run(host, ["sh", "-c", received], check=False).stdout.strip()


@pytest.mark.parametrize("name", ENDS)
def test_a_start_file_that_ends_the_shell_is_named(
    answers: dict[str, list[Any]], name: str
) -> None:
    value, problem, hint, _ = answer_of(answers, name)
    assert value is None
    assert "did not run our command" in problem
    assert ENDS[name][2] in problem
    assert "~/.bashrc" in hint


@pytest.mark.parametrize("name", OTHERS)
def test_what_keeps_our_program_from_running_is_named(
    answers: dict[str, list[Any]], name: str
) -> None:
    value, problem, hint, _ = answer_of(answers, name)
    assert value is None
    assert OTHERS[name][2] in problem
    assert OTHERS[name][3] in hint
