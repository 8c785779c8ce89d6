from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from launcher.transports.remote import node_probe, source


@pytest.mark.process
def test_the_probe_answers_without_anything_of_ours_on_the_path() -> None:
    """A node need not have the launcher to be asked: it may be the one thing that it lacks."""
    request = '{"packages": [], "root": "/", "head": "localhost", "ports": [], "limit_s": 20}'
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", source("node_probe")],
        input=request,
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert '"hostname"' in done.stdout
    assert '"code": ""' in done.stdout


def test_a_question_that_hangs_or_fails_costs_only_its_own_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()

    def hangs(request: dict[str, Any]) -> None:
        released.wait(60)

    def fails(request: dict[str, Any]) -> None:
        raise OSError("no such device")

    questions = {
        "fine": (lambda request: request["limit_s"], 30.0),
        "hangs": (hangs, 0.2),
        "fails": (fails, 30.0),
    }
    monkeypatch.setattr(node_probe, "QUESTIONS", questions)
    facts, problems = node_probe.ask_all({"limit_s": 30.0})
    released.set()
    assert facts == {"fine": 30.0}
    assert problems == {"fails": "OSError: no such device", "hangs": "no answer within 0.2 s"}


def test_no_question_may_take_longer_than_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    questions = {"hangs": (lambda request: released.wait(60), 50.0)}
    monkeypatch.setattr(node_probe, "QUESTIONS", questions)
    _, problems = node_probe.ask_all({"limit_s": 0.2})
    released.set()
    assert problems == {"hangs": "no answer within 0.2 s"}


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.socket() as taken, socket.socket() as other:
        taken.bind(("", 0))
        taken.listen()
        other.bind(("", 0))
        ports = [taken.getsockname()[1], other.getsockname()[1]]
        other.close()
        assert node_probe.free_ports({"ports": ports}) == ports[1:]


def test_the_digest_of_the_code_changes_with_any_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    file = tmp_path / "sub" / "module.py"
    file.write_text("a = 1")
    monkeypatch.setattr(node_probe, "_package_folder", lambda name: tmp_path)
    before = node_probe.code({})
    file.write_text("a = 2")
    assert before != node_probe.code({})
    assert len(before) == 16


def test_the_build_of_torch_is_read_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_probe, "_package_folder", lambda name: tmp_path)
    text = "cuda: Optional[str] = {}\ngit_version = 'x'\nhip: Optional[str] = None\n"
    (tmp_path / "version.py").write_text(text.format("'12.6'"))
    assert node_probe.torch_cuda({}) == "12.6"
    (tmp_path / "version.py").write_text(text.format("None"))
    assert node_probe.torch_cuda({}) == ""


@pytest.mark.process
def test_gpus_are_read_with_the_processes_that_use_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        "#!/bin/sh\n"
        'case "$1" in\n'
        "*compute-apps*) echo 'GPU-b, 4711' ;;\n"
        "*) echo '0, GPU-a, NVIDIA H100, 81559'; echo '1, GPU-b, NVIDIA H100, 81559' ;;\n"
        "esac\n"
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    first, second = node_probe.gpus({})
    assert first == {
        "index": "0",
        "uuid": "GPU-a",
        "name": "NVIDIA H100",
        "memory_mib": 81559,
        "pids": [],
    }
    assert second["pids"] == [4711]


@pytest.mark.process
def test_what_nvidia_smi_complains_about_is_the_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'Failed to initialize NVML'\nexit 9\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(RuntimeError, match="Failed to initialize NVML"):
        node_probe.gpus({})


def test_interfaces_are_those_that_the_kernel_lists() -> None:
    found = node_probe.interfaces({})
    names = {name for _, name in socket.if_nameindex()}
    assert {each["name"] for each in found} <= names
    assert not any(each["address"].startswith("127.") for each in found)
    assert all(0 < each["prefix"] <= 128 for each in found)


def test_a_root_without_the_token_is_told_apart_from_one_that_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    request = {"root": str(tmp_path), "token_folder": str(folder), "token": "n", "rank": 0}
    assert "a different folder" in node_probe.storage_problem(request)
    request["root"] = str(tmp_path / "none")
    assert node_probe.storage_problem(request) == "not found"
    folder.mkdir()
    (folder / "launcher").write_text("of yesterday")
    assert node_probe.storage_problem(request) == "it shows old content"
    (folder / "launcher").write_text("n")
    assert node_probe.storage_problem(request) == ""
    assert (tmp_path / "m" / "0").read_text() == "n"


def test_a_port_in_use_at_one_address_is_not_free_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not node_probe.is_free(port, "127.0.0.1")
    assert node_probe.is_free(port, "127.0.0.1")


def test_a_port_that_was_just_used_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            connection, _ = server.accept()
            connection.close()  # the server's side closes first: its port goes to TIME_WAIT
            client.recv(1)
    assert node_probe.is_free(port, "127.0.0.1")


def test_an_address_of_another_host_cannot_be_asked_about() -> None:
    assert node_probe.is_free(29500, "192.0.2.1")
    assert node_probe.is_free(29500, "no-such-host.invalid")


def test_gpus_without_nvidia_smi_are_those_of_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container may have the devices and the driver, and not the program."""
    folder = tmp_path / "gpus" / "0000:01:00.0"
    folder.mkdir(parents=True)
    (folder / "information").write_text("Model: \t NVIDIA H100\nGPU UUID: \t GPU-a\n")
    monkeypatch.setattr(node_probe, "_DRIVER", tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    (gpu,) = node_probe.gpus({})
    assert (gpu["index"], gpu["uuid"], gpu["name"]) == ("0", "GPU-a", "NVIDIA H100")
