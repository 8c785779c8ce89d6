"""ssh to real servers on this machine, and everything that can go wrong on the way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.errors import PreflightError
from launcher.processes import find as find_process
from launcher.specs import Command, Node, RunLayout
from launcher.supervise.run_processes import end_on_nodes, signal_on_nodes
from launcher.transports import Process, Reach
from launcher.transports.ssh import SshTransport
from tests.contract.loopback import LoopbackSshd
from tests.unit.transports.conftest import command_lines, marked, wait_until

pytestmark = [pytest.mark.process, pytest.mark.extras]

ECHO = "import json, sys; print(json.dumps({'got': json.load(sys.stdin)}))"
SECRET = "do-not-show-this-8f2a"

# A command as ours are: it has a rank that leads a session of its own, and both are deaf.
DEAF_TREE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
print("up", flush=True)
time.sleep(600)
"""


def node(number: int, ssh: str | None = None, port: int = 0) -> Node:
    return Node(
        node_rank=number,
        name=f"n{number}",
        address="127.0.0.1",
        ssh=f"node{number}" if ssh is None else ssh,
        ssh_port=port,
        slots=1,
    )


Reaching = Callable[..., SshTransport]


@pytest.fixture
def reaching(sshd: LoopbackSshd) -> Iterator[Reaching]:
    """Return a transport to the nodes; closed at the end."""
    with contextlib.ExitStack() as stack:

        def reach(
            *nodes: Node, python: str = sys.executable, lost_after_s: float = 20.0
        ) -> SshTransport:
            transport = SshTransport(Reach(nodes=nodes, python=python, lost_after_s=lost_after_s))
            stack.callback(transport.close)
            return transport

        yield reach


def command(number: int, code: str, folder: Path, **env: str) -> Command:
    return Command(
        node_rank=number, argv=(sys.executable, "-c", code), env=dict(env), cwd=str(folder)
    )


def start(
    transport: SshTransport,
    folder: Path,
    code: str,
    *numbers: int,
    mark: str = "TORCH_X=1",
    **env: str,
) -> dict[int, Process]:
    name, _, value = mark.partition("=")
    commands = [command(number, code, folder, **{name: value}, **env) for number in numbers or (0,)]
    logs = {each.node_rank: folder / "logs" / f"{each.node_rank}.log" for each in commands}
    return transport.start(commands, logs=logs)


def output(folder: Path, number: int = 0) -> str:
    return (folder / "logs" / f"{number}.log").read_text()


def test_secrets_are_sent_but_never_on_a_command_line(
    reaching: Reaching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    code = "import os, time; print(os.environ['HF_TOKEN'], flush=True); time.sleep(600)"
    transport = reaching(node(0))
    start(transport, tmp_path, code)
    wait_until("the output", lambda: output(tmp_path).endswith("\n"))
    assert output(tmp_path).strip() == SECRET
    assert not [line for line in command_lines() if SECRET.encode() in line]
    looking = (
        "import json, os, pathlib; "
        "print(json.dumps({'has': os.environ['HF_TOKEN'], 'lines': [repr(p.read_bytes()) "
        "for p in pathlib.Path('/proc').glob('[0-9]*/cmdline') if p.exists()]}))"
    )
    value = transport.ask(looking, {0: {}}, timeout_s=30)[0].value
    assert value is not None
    assert value["has"] == SECRET
    assert not [line for line in value["lines"] if SECRET in line]


def test_what_belongs_to_this_machine_stays_here(
    reaching: Reaching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSH_ASKPASS_TOKEN", "DISPLAY", "CUDA_VISIBLE_DEVICES", "LT_OTHER"):
        monkeypatch.setenv(name, "ours")
    start(reaching(node(0)), tmp_path, "import json, os; print(json.dumps(dict(os.environ)))")[
        0
    ].wait(30)
    assert "ours" not in output(tmp_path)
    assert f'"PATH": "{Path(sys.executable).parent}:' in output(tmp_path)


def test_an_environment_that_is_larger_than_a_pipe_arrives(
    reaching: Reaching, tmp_path: Path
) -> None:
    long = {f"TORCH_LT_{number}": "x" * 10_000 for number in range(30)}
    code = "import os; print(sum(len(v) for k, v in os.environ.items() if 'TORCH_LT_' in k))"
    assert start(reaching(node(0)), tmp_path, code, **long)[0].wait(30) == 0
    assert output(tmp_path) == "300000\n"


def test_an_interpreter_whose_path_has_spaces_is_found(reaching: Reaching, tmp_path: Path) -> None:
    python = tmp_path / "it's a $(strange) folder" / "python"
    python.parent.mkdir()
    python.symlink_to(os.path.realpath(sys.executable))
    answer = reaching(node(0), python=str(python)).ask(ECHO, {0: {}}, timeout_s=30)[0]
    assert answer.problem == ""


@pytest.mark.usefixtures("_openssh")
def test_all_questions_to_a_node_share_one_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackSshd(tmp_path / "sshd", ["node0"]) as server:
        monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
        with contextlib.closing(
            SshTransport(Reach(nodes=(node(0),), python=sys.executable))
        ) as transport:
            for number in range(4):
                answer = transport.ask(ECHO, {0: {"number": number}}, timeout_s=30)[0]
                assert answer.value == {"got": {"number": number}}
            assert start(transport, tmp_path, "pass")[0].wait(30) == 0
        assert (tmp_path / "sshd" / "sshd.log").read_text().count("Accepted publickey") == 1


def test_closing_ends_everything(sshd: LoopbackSshd, tmp_path: Path, mark: str) -> None:
    transport = SshTransport(Reach(nodes=(node(0), node(1)), python=sys.executable))
    processes = start(transport, tmp_path, DEAF_TREE, 0, 1, mark=mark)
    sockets = transport._routes._folder
    assert sockets is not None
    assert len(list(sockets.iterdir())) == 2
    transport.close()
    assert [each.poll() for each in processes.values()] == [-9, -9]
    assert not marked(mark)
    assert not sockets.exists()
    wait_until(
        "the connections to end",
        lambda: not [w for w in command_lines() if str(sockets).encode() in w],
    )
    transport.close()


def test_closing_ends_questions_that_are_not_answered_yet(
    sshd: LoopbackSshd, tmp_path: Path
) -> None:
    transport = SshTransport(Reach(nodes=(node(0),), python=sys.executable))
    source = f"open({str(tmp_path / 'asked')!r}, 'w'); import time; time.sleep(600)"
    asking = threading.Thread(
        target=transport.ask, args=(source, {0: {}}), kwargs={"timeout_s": 600}
    )
    asking.start()
    wait_until("the question", (tmp_path / "asked").exists)
    transport.close()
    asking.join(60)
    assert not asking.is_alive()
    assert transport.ask(ECHO, {0: {}}, timeout_s=30)[0].problem == "the connections were closed"


def test_a_shared_connection_of_the_users_own_is_used_and_left_alone(
    sshd: LoopbackSshd, tmp_path: Path
) -> None:
    config = sshd.config.read_text()
    sshd.config.write_text(config + f"ControlPath {tmp_path}/own\n")
    try:
        subprocess.run(["ssh", "-M", "-N", "-f", "node0"], check=True, stderr=subprocess.DEVNULL)
        # Now no login would succeed, as if it took a second factor.
        sshd.config.write_text(
            config.replace("user_key", "no_key") + f"ControlPath {tmp_path}/own\n"
        )
        with contextlib.closing(
            SshTransport(Reach(nodes=(node(0),), python=sys.executable))
        ) as transport:
            assert transport.ask(ECHO, {0: {}}, timeout_s=30)[0].problem == ""
        subprocess.run(["ssh", "-O", "check", "node0"], check=True, stderr=subprocess.DEVNULL)
    finally:
        subprocess.run(["ssh", "-O", "exit", "node0"], check=False, stderr=subprocess.DEVNULL)
        sshd.config.write_text(config)


def test_a_node_that_is_this_machine_is_reached_without_ssh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sshd: LoopbackSshd
) -> None:
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text('#!/bin/sh\n[ "$1" = -G ] || exit 99\nexec /usr/bin/ssh -F /dev/null "$@"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    here = node(0, ssh="localhost")
    with contextlib.closing(SshTransport(Reach(nodes=(here,), python=sys.executable))) as transport:
        assert transport.ask(ECHO, {0: {}}, timeout_s=30)[0].problem == ""
        process = start(transport, tmp_path, "raise SystemExit(7)")[0]
        assert process.wait(30) == 7


# --- what cannot work


def problem_and_hint(transport: SshTransport, folder: Path) -> tuple[str, str]:
    """Both ways to reach a node report the same."""
    answer = transport.ask(ECHO, {0: {}}, timeout_s=30)[0]
    with pytest.raises(PreflightError) as caught:
        start(transport, folder, "pass")
    assert answer.problem in caught.value.message
    assert caught.value.hint == answer.hint
    return caught.value.message, answer.hint


def test_a_missing_interpreter_is_reported(reaching: Reaching, tmp_path: Path) -> None:
    message, hint = problem_and_hint(reaching(node(0), python="/no/such/python"), tmp_path)
    assert message == "cannot reach node 0 (n0): it has no `/no/such/python`"
    assert "cluster.python=" in hint


ASK_WITHOUT_FILES = """
import os, resource, sys
from launcher.specs import Node
from launcher.transports import Reach
from launcher.transports.ssh import SshTransport
node = Node(node_rank=0, name="n0", address="", ssh="node0", slots=1)
transport = SshTransport(Reach(nodes=(node,), python=sys.executable))
used = len(os.listdir("/proc/self/fd"))
resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))
answer = transport.ask("", {0: {}}, timeout_s=30)[0]
print(answer.problem, answer.hint, sep="\\n")
"""


def test_a_machine_that_cannot_start_another_process_is_reported(sshd: LoopbackSshd) -> None:
    words = (sys.executable, "-c", ASK_WITHOUT_FILES)
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    problem, hint = done.stdout.splitlines()
    assert problem.endswith("cannot start the process that connects to it: Too many open files")
    assert "ulimit -u" in hint


def test_an_unknown_host_name_is_reported(reaching: Reaching, tmp_path: Path) -> None:
    message, hint = problem_and_hint(reaching(node(0, ssh="no-such-host.invalid")), tmp_path)
    assert "Could not resolve hostname no-such-host.invalid" in message
    assert "spelling" in hint


def test_a_port_without_a_server_is_reported(reaching: Reaching, tmp_path: Path) -> None:
    message, hint = problem_and_hint(reaching(node(0, port=1)), tmp_path)
    assert "port 1: Connection refused" in message
    assert "is the machine up" in hint


def test_a_host_whose_key_is_unknown_is_reported(reaching: Reaching, tmp_path: Path) -> None:
    server = reaching(node(0, ssh="127.0.0.1", port=_port_of(tmp_path)))
    message, hint = problem_and_hint(server, tmp_path)
    assert message.endswith("Host key verification failed.")
    assert "log in once by hand" in hint


def _port_of(folder: Path) -> int:
    """The port of the server that `ssh` on PATH leads to."""
    settings = subprocess.run(["ssh", "-G", "node0"], capture_output=True, text=True, check=True)
    return int(
        next(line for line in settings.stdout.splitlines() if line.startswith("port ")).split()[1]
    )


def test_a_host_that_refuses_our_key_is_reported(
    reaching: Reaching, sshd: LoopbackSshd, tmp_path: Path
) -> None:
    config = sshd.config.read_text()
    sshd.config.write_text(config.replace("user_key", "no_key"))
    try:
        message, hint = problem_and_hint(reaching(node(0)), tmp_path)
    finally:
        sshd.config.write_text(config)
    assert "Permission denied (publickey" in message
    assert "ssh-copy-id node0" in hint


def test_a_log_that_the_node_cannot_write_is_reported(reaching: Reaching, tmp_path: Path) -> None:
    (tmp_path / "logs" / "0.log").mkdir(parents=True)
    with pytest.raises(
        PreflightError, match=r"node 0 \(n0\) cannot write to `.*logs`: Is a dir"
    ) as caught:
        start(reaching(node(0)), tmp_path, "pass")
    assert "storage.root=" in caught.value.hint


def test_all_nodes_that_fail_are_reported_together_and_the_others_have_ended(
    reaching: Reaching, tmp_path: Path, mark: str
) -> None:
    nodes = [node(0), node(1, ssh="nowhere.invalid"), node(2), node(3, port=1)]
    with pytest.raises(PreflightError, match=r"node 1 \(n1\)") as caught:
        start(reaching(*nodes), tmp_path, DEAF_TREE, 0, 1, 2, 3, mark=mark)
    assert (
        "node 3 (n3): ssh: connect to host 127.0.0.1 port 1: Connection refused"
        in caught.value.context
    )
    assert not marked(mark)


@pytest.mark.usefixtures("_openssh")
def test_what_a_login_script_prints_is_not_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chatty = 'ForceCommand printf \'Welcome!\\n{"node"\'; eval "$SSH_ORIGINAL_COMMAND"\n'
    with LoopbackSshd(tmp_path / "sshd", ["node0"], chatty) as server:
        monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
        with contextlib.closing(
            SshTransport(Reach(nodes=(node(0),), python=sys.executable))
        ) as transport:
            assert transport.ask(ECHO, {0: {}}, timeout_s=30)[0].problem == ""
            assert start(transport, tmp_path, "raise SystemExit(3)")[0].wait(30) == 3


def test_forty_nodes_behind_one_server_with_default_limits(
    reaching: Reaching, tmp_path: Path, mark: str
) -> None:
    ranks = range(40)
    transport = reaching(*(node(rank) for rank in ranks))
    processes = start(transport, tmp_path, "import time; time.sleep(600)", *ranks, mark=mark)
    assert len(marked(mark)) == len(processes) == len(ranks)
    answers = transport.ask(ECHO, {rank: {"n": rank} for rank in ranks}, timeout_s=120)
    assert {rank: answer.value for rank, answer in answers.items()} == {
        rank: {"got": {"n": rank}} for rank in ranks
    }
    assert not [process.lost for process in processes.values() if process.lost]


# --- what ends when


def test_when_the_ssh_client_is_killed_the_node_is_lost_and_nothing_keeps_running_there(
    reaching: Reaching, tmp_path: Path, mark: str
) -> None:
    transport = reaching(node(0))
    process = start(transport, tmp_path, DEAF_TREE, mark=mark, LAUNCHER_GRACE_S="0")[0]
    wait_until("the tree", lambda: len(marked(mark)) == 2)
    process.channel.process.kill()  # type: ignore[attr-defined]
    assert process.wait(30) == -signal.SIGKILL
    assert process.lost == "the connection to n0 (node0) ended"
    process.kill()
    wait_until("the tree to end", lambda: not marked(mark))


def test_a_supervisor_that_is_killed_leaves_nothing(
    sshd: LoopbackSshd, tmp_path: Path, mark: str
) -> None:
    with _supervisor(tmp_path, mark) as supervisor:
        wait_until("the tree", lambda: len(marked(mark)) == 2)
        supervisor.kill()
        wait_until("the tree to end", lambda: not marked(mark))


def test_a_supervisor_that_says_nothing_for_too_long_has_lost_its_nodes(
    sshd: LoopbackSshd, tmp_path: Path, mark: str
) -> None:
    with _supervisor(tmp_path, mark, lost_after_s=1) as supervisor:
        wait_until("the tree", lambda: len(marked(mark)) == 2)
        supervisor.send_signal(signal.SIGSTOP)
        wait_until("the tree to end", lambda: not marked(mark))


def test_a_supervisor_that_was_stopped_for_a_moment_blames_no_node(
    sshd: LoopbackSshd, tmp_path: Path, mark: str
) -> None:
    with _supervisor(tmp_path, mark, lost_after_s=4) as supervisor:
        wait_until("the tree", lambda: len(marked(mark)) == 2)
        supervisor.send_signal(signal.SIGSTOP)
        time.sleep(6)  # longer than `lost_after_s`; the agents wait fourteen seconds
        supervisor.send_signal(signal.SIGCONT)
        looks = _looks(tmp_path)
        wait_until("more looks", lambda: len(_looks(tmp_path)) > len(looks) + 30)
        assert set(_looks(tmp_path)) == {"''"}
        assert len(marked(mark)) == 2


def _looks(folder: Path) -> list[str]:
    """What the supervisor said about its node so far, ten times a second."""
    return (folder / "looks").read_text().splitlines() if (folder / "looks").exists() else []


@contextlib.contextmanager
def _supervisor(
    folder: Path, mark: str, *, lost_after_s: float = 20
) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the transport."""
    code = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pathlib import Path
from launcher.transports import Reach
from launcher.transports.ssh import SshTransport
from tests.unit.transports.test_ssh import DEAF_TREE, node, start
reach = Reach(nodes=(node(0),), python=sys.executable, lost_after_s={lost_after_s})
transport = SshTransport(reach)
folder = Path({str(folder)!r})
process = start(transport, folder, DEAF_TREE, mark={mark!r}, LAUNCHER_GRACE_S="0")[0]
while True:
    with (folder / "looks").open("a") as file:
        print(repr(process.lost), file=file)
    time.sleep(0.1)
"""
    supervisor = subprocess.Popen((sys.executable, "-c", code))
    try:
        yield supervisor
    finally:
        supervisor.kill()
        supervisor.wait()


def test_a_frozen_node_is_lost_and_ends_everything_when_it_thaws(
    reaching: Reaching, tmp_path: Path, mark: str
) -> None:
    transport = reaching(node(0), node(1), lost_after_s=5)
    processes = start(transport, tmp_path, DEAF_TREE, 0, 1, mark=mark)
    wait_until("the trees", lambda: len(marked(mark)) == 4)
    agent = _parent_of(processes[0].pid)
    os.kill(agent, signal.SIGSTOP)
    try:
        wait_until("the loss", lambda: processes[0].lost)
        assert processes[0].lost.startswith("no heartbeat for ")
        assert processes[0].lost.endswith(" s from n0 (node0)")
        assert processes[0].poll() == -signal.SIGKILL
        assert processes[1].lost == ""
        assert processes[1].poll() is None
        processes[0].kill()
        assert len(marked(mark)) == 4
    finally:
        os.kill(agent, signal.SIGCONT)
    wait_until("the tree to end", lambda: len(marked(mark)) == 2)
    assert processes[1].poll() is None


def _parent_of(pid: int) -> int:
    process = find_process(pid)
    assert process is not None
    return process.parent


def test_what_a_run_left_on_a_node_is_ended_by_its_folder(
    reaching: Reaching, tmp_path: Path
) -> None:
    layout = RunLayout(tmp_path / "runs" / "it")
    env = {"LAUNCHER_RUN_ID": "it", "LAUNCHER_RUN_DIR": str(layout.path)}
    transport = reaching(node(0))
    process = start(transport, tmp_path, DEAF_TREE, **env)[0]
    wait_until("the tree", lambda: output(tmp_path).count("up") == 2)
    stranger = RunLayout(tmp_path / "other" / "it")
    assert end_on_nodes(transport, stranger, [0])[0].value == {"pids": []}
    answer = end_on_nodes(transport, layout, [0])[0]
    assert answer.value is not None
    assert process.pid in answer.value["pids"]
    assert len(answer.value["pids"]) == 2
    assert process.wait(30) == -signal.SIGKILL
    assert process.lost == ""


def test_a_signal_reaches_only_processes_of_the_run(reaching: Reaching, tmp_path: Path) -> None:
    layout = RunLayout(tmp_path / "runs" / "it")
    env = {"LAUNCHER_RUN_ID": "it", "LAUNCHER_RUN_DIR": str(layout.path)}
    transport = reaching(node(0))
    code = """
import signal, time
signal.signal(signal.SIGUSR2, lambda *_: print("dumped", flush=True))
print("up", flush=True)
time.sleep(600)
"""
    process = start(transport, tmp_path, code, **env)[0]
    wait_until("the command", lambda: "up" in output(tmp_path))
    pids = {0: [process.pid, os.getpid()]}
    answer = signal_on_nodes(transport, layout, pids, signal.SIGUSR2)[0]
    assert answer.value == {"pids": [process.pid]}
    wait_until("the dump", lambda: "dumped" in output(tmp_path))


# Limits belong to a process, and only root could raise ours again.
LIMITED = """
import resource, sys
from launcher.errors import PreflightError
from launcher.transports.ssh import raise_file_limit
soft, hard, links = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
try:
    raise_file_limit(links)
except PreflightError as error:
    sys.exit(f"{error.message}; {error.hint}")
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limited(soft: int, hard: int, links: int) -> subprocess.CompletedProcess[str]:
    words = (sys.executable, "-c", LIMITED, str(soft), str(hard), str(links))
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("soft", "hard", "links", "after"),
    [(1000, 1000, 200, (1000, 1000)), (512, 1000, 200, (856, 1000)), (300, 1000, 4, (300, 1000))],
)
def test_the_limit_is_raised_as_far_as_needed(
    soft: int, hard: int, links: int, after: tuple[int, int]
) -> None:
    assert limited(soft, hard, links).stdout.strip() == str(after)


def test_a_limit_that_cannot_be_raised_is_reported_before_anything_starts() -> None:
    done = limited(300, 300, 64)
    assert "64 nodes need 448 open files, but this process is limited to 300" in done.stderr
    assert "ulimit -Hn" in done.stderr
