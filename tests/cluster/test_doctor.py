"""Preflight and `doctor` on real hosts: what is wrong is named, in the right cell and in time."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab

HOSTS = ("host1", "host2", "host3", "host4")
WITHIN_S = 300
MB = 2**20


def types(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    """Somebody on the head types a command about the hosts."""
    on_hosts = ("cluster=hostfile", f"cluster.hosts=[{','.join(HOSTS)}]")
    return lab.run(
        "head",
        [sys.executable, "-m", "launcher", *on_hosts, "storage.root=/shared/doctor", *words],
        timeout_s=WITHIN_S,
        check=False,
    )


def diagnosed(lab: Lab, *words: str) -> dict[str, Any]:
    """Return what `doctor --json` says; its exit code has to agree."""
    done = types(lab, "doctor", "--json", *words)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["ok"] == (done.returncode == 0)
    return found


def bad_cells(found: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {
        (host, check): cell["what"]
        for host, told in found["nodes"].items()
        for check, cell in told["checks"].items()
        if cell["mark"] == "bad"
    }


def test_doctor_finds_nothing_wrong_with_sound_hosts_and_leaves_nothing(lab: Lab) -> None:
    found = diagnosed(lab)
    assert bad_cells(found) == {}
    assert {host: told["checks"]["network"]["text"] for host, told in found["nodes"].items()} == {
        host: f"{lab.address(host)} eth0" for host in HOSTS
    }
    assert len(found["links"]) == 6
    assert all(link["bytes_per_s"] for link in found["links"])
    assert list((lab.shared / "doctor").iterdir()) == []


@pytest.mark.skipif(sys.prefix.startswith("/tmp/"), reason="the interpreter lies in the full /tmp")
def test_everything_that_is_wrong_is_named_at_once_in_its_own_cell(lab: Lab) -> None:
    lab.crash("host1")
    lab.share_read_only("host2", True)
    lab.fill_disk("host3", "/tmp", MB)
    found = diagnosed(lab)
    assert bad_cells(found) == {
        ("host1", "answer"): found["nodes"]["host1"]["checks"]["answer"]["what"],
        ("host2", "storage"): "storage.root=/shared/doctor: read-only file system",
        ("host3", "tmp"): "only 1.0 MB are free in its folder for temporary files",
    }
    assert "Connection refused" in bad_cells(found)["host1", "answer"]
    assert found["exclude"].startswith("host1,host2,host3")  # and host4 if it looks slow
    text = types(lab, "doctor").stdout
    assert "! read-only file system" in text
    assert "--exclude=host1,host2,host3" in text


def test_a_frozen_host_does_not_hang_doctor(lab: Lab) -> None:
    lab.freeze("host4")
    found = diagnosed(lab)
    assert list(bad_cells(found)) == [("host4", "answer")]
    assert "host4" in found["bad_nodes"]  # on a busy machine, a connection may be slow as well


@contextlib.contextmanager
def start_file(lab: Lab, host: str, text: str) -> Iterator[None]:
    """The shell of logins to `host` reads `text` first."""
    lab.run(host, ["sh", "-c", 'echo "$0" > ~root/.bashrc', text])
    try:
        yield
    finally:
        lab.run(host, ["sh", "-c", "rm -f ~root/.bashrc ~root/logins"])


@pytest.mark.parametrize("seconds", [6])
def test_a_host_with_a_slow_login_is_slow_and_no_host_is_bad(lab: Lab, seconds: int) -> None:
    with start_file(lab, "host3", f"sleep {seconds}"):
        found = diagnosed(lab)
    assert bad_cells(found) == {}
    answer = found["nodes"]["host3"]["checks"]["answer"]
    assert answer["mark"] == "odd"
    assert f"its login is slow: {seconds}" in answer["what"]
    others = [found["nodes"][host]["checks"] for host in HOSTS if host != "host3"]
    assert [each["answer"]["mark"] for each in others] == ["good"] * 3
    assert [each["network"]["mark"] for each in others] == ["good"] * 3
    assert len(found["links"]) == 6
    assert not [link for link in found["links"] if "not measured" in link["complaint"]]


def test_a_host_whose_login_takes_a_minute_is_named_and_not_its_peers(lab: Lab) -> None:
    with start_file(lab, "host3", "sleep 60"):
        found = diagnosed(lab)
    assert list(bad_cells(found)) == [("host3", "answer")]
    assert "did not run our command within 30 s" in bad_cells(found)["host3", "answer"]


LATER = """
echo >> ~/logins
[ "$(wc -l < ~/logins)" -lt {login} ] || sleep 600
"""


@pytest.mark.parametrize("login", [2, 3])
def test_a_host_that_does_not_answer_a_later_question_is_named_and_not_its_peers(
    lab: Lab, login: int
) -> None:
    """The second question tests the connections, the third one measures them."""
    with start_file(lab, "host3", LATER.format(login=login)):
        found = diagnosed(lab)
    named = {host for host, _ in bad_cells(found)}
    assert named == ({"host3"} if login == 2 else set())
    assert "host3" in found["bad_nodes"]
    silent = [link for link in found["links"] if "not measured" in link["complaint"]]
    assert {tuple(link["nodes"]) for link in silent} == (
        set() if login == 2 else {("host1", "host3"), ("host2", "host3"), ("host3", "host4")}
    )
    assert all("host3: its login shell" in link["complaint"] for link in silent)


def test_two_hosts_that_do_not_reach_each_other_are_named_as_a_pair(lab: Lab) -> None:
    lab.partition("host2", ["host3"])
    found = diagnosed(lab)
    assert list(bad_cells(found)) == [("host3", "network")]
    assert "no connection to host2" in bad_cells(found)["host3", "network"]
    assert {tuple(link["nodes"]) for link in found["links"]} == {
        *(("host1", "host2"), ("host1", "host4"), ("host2", "host4"))
    }


def test_a_slow_connection_is_found_and_its_host_left_out(lab: Lab) -> None:
    slow = ["tc", "qdisc", "add", "dev", "eth0", "root", "tbf"]
    lab.run("host2", [*slow, "rate", "20mbit", "burst", "64k", "latency", "200ms"])
    try:
        found = diagnosed(lab)
    finally:
        lab.run("host2", ["tc", "qdisc", "del", "dev", "eth0", "root"])
    slow_pairs = {tuple(link["nodes"]) for link in found["links"] if link["complaint"]}
    assert slow_pairs >= {("host1", "host2"), ("host2", "host3"), ("host2", "host4")}
    assert "host2" in found["bad_nodes"]


@contextlib.contextmanager
def other_torch(lab: Lab, host: str) -> Iterator[str]:
    """An interpreter at one path on all hosts, which finds another torch on one of them."""
    packages = sysconfig.get_path("purelib")
    python = "/opt/drifting/bin/python"
    for each in ("head", *HOSTS):
        words = [sys.executable, "-m", "venv", "--without-pip", "/opt/drifting"]
        lab.run(each, words, timeout_s=WITHIN_S)
        found = lab.run(each, [python, "-c", "import site; print(site.getsitepackages()[0])"])
        own = found.stdout.strip()
        lab.run(each, ["sh", "-c", f"echo {packages} > {own}/theirs.pth"])
        if each == host:
            info = f"{own}/torch-2.0.1.dist-info"
            metadata = r"Metadata-Version: 2.1\nName: torch\nVersion: 2.0.1\n"
            lab.run(each, ["sh", "-c", f"mkdir {info} && printf '{metadata}' > {info}/METADATA"])
    try:
        yield python
    finally:
        for each in ("head", *HOSTS):
            lab.run(each, ["rm", "-r", "/opt/drifting"])


def test_a_host_with_another_torch_is_named_with_both_versions(lab: Lab) -> None:
    with other_torch(lab, "host3") as python:
        found = diagnosed(lab, f"cluster.python={python}")
    assert list(bad_cells(found)) == [("host3", "torch")]
    assert bad_cells(found)["host3", "torch"].startswith("torch 2.0.1, most nodes have ")


@pytest.fixture
def script(lab: Lab) -> Iterator[Path]:
    path = lab.shared / "who.py"
    path.write_text("print('trained')\n")
    yield path
    path.unlink()
    shutil.rmtree(lab.shared / "doctor", ignore_errors=True)


def run(lab: Lab, run_id: str, *words: str) -> subprocess.CompletedProcess[str]:
    script = ("recipe=script", "script=/shared/who.py", "device=cpu")
    return types(lab, *script, f"run_id={run_id}", *words)


def test_a_run_does_not_begin_on_a_host_that_fails_a_check(lab: Lab, script: Path) -> None:
    lab.share_read_only("host2", True)
    done = run(lab, "refused")
    assert done.returncode == 3
    assert "3 of 4 hosts can be used" in done.stderr
    assert "! read-only file system" in done.stderr
    assert not (lab.shared / "doctor" / "runs" / "refused").exists()


def test_a_spare_takes_the_place_of_a_host_that_fails_a_check(lab: Lab, script: Path) -> None:
    lab.share_read_only("host2", True)
    done = run(lab, "spared", "nodes=2", "cluster.hosts=[host1,host2]", "cluster.spares=[host3]")
    assert done.returncode == 0, done.stdout + done.stderr
    made = json.loads((lab.shared / "doctor" / "runs" / "spared" / "plan.json").read_text())
    assert [node["name"] for node in made["cluster"]["nodes"]] == ["host1", "host3"]


def test_the_run_folder_says_what_every_node_is_made_of(lab: Lab, script: Path) -> None:
    done = run(lab, "noted", "nodes=2")
    assert done.returncode == 0, done.stdout + done.stderr
    noted = json.loads((lab.shared / "doctor" / "runs" / "noted" / "environment.json").read_text())
    assert set(noted["nodes"]) == set(HOSTS)
    assert {each["host"] for each in noted["nodes"].values()} == set(HOSTS)
    assert len({each["packages"]["torch"] for each in noted["nodes"].values()}) == 1
    assert "torch" not in noted["differences"]


def test_a_pinned_port_that_is_in_use_on_the_head_is_told(lab: Lab, script: Path) -> None:
    holds = "import socket, time; s = socket.create_server(('', 29500)); time.sleep(600)"
    holder = lab.start("host1", [sys.executable, "-c", holds])
    try:
        lab.run(
            "host1",
            ["sh", "-c", "until grep -q ':733C .* 0A ' /proc/net/tcp; do sleep 0.1; done"],
        )
        done = run(lab, "pinned", "cluster.port=29500")
    finally:
        holder.kill_tree()
        holder.wait()
    assert done.returncode == 3
    assert "port 29500 is in use" in done.stderr
