"""The lab itself: its hosts behave as machines of a small cluster do."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import Lab, LabError, records
from tests.lab.commands import wait_until
from tests.lab.host import REPOSITORY, User

SSH = ("ssh", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes")
WITHIN_S = 60


def _names_by_ssh(lab: Lab, source: str, user: User = "root") -> list[str]:
    return [
        lab.run(source, [*SSH, name, "hostname"], user=user).stdout.strip() for name in lab.names
    ]


def _reaches(lab: Lab, source: str, target: str) -> bool:
    done = lab.run(source, [*SSH, "-o", "ConnectTimeout=45", target, "true"], check=False)
    return done.returncode == 0


def _why_not_reached(lab: Lab, source: str, target: str) -> str:
    done = lab.run(source, [*SSH, "-o", "ConnectTimeout=1", target, "true"], check=False)
    assert done.returncode != 0, f"{source} reaches {target}"
    return done.stderr


@pytest.mark.parametrize("user", ["root", "trainer"])
def test_anybody_logs_in_from_any_host_to_any_host(lab: Lab, user: User) -> None:
    assert lab.names == ("head", "host1", "host2", "host3", "host4")
    for source in ("head", "host3"):
        assert _names_by_ssh(lab, source, user) == list(lab.names)


def test_this_machine_logs_in_too(lab: Lab) -> None:
    done = subprocess.run(
        ["ssh", "-F", lab.ssh_config, "host2", "hostname"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "host2\n"


def test_hosts_share_one_folder_and_nothing_else(lab: Lab) -> None:
    for folder in ("/shared", "/tmp", "/dev/shm", "/run", "/local", "/etc", "/root"):
        lab.run("host1", ["touch", f"{folder}/from-host1"])
        seen = lab.run("host2", ["ls", folder]).stdout.split()
        assert ("from-host1" in seen) == (folder == "/shared"), folder
    assert (lab.shared / "from-host1").exists()
    assert (lab.local("host1") / "from-host1").exists()


@pytest.mark.parametrize("user", ["root", "trainer"])
def test_code_and_environment_are_there_on_every_host(lab: Lab, user: User) -> None:
    imported = [sys.executable, "-c", "import launcher; print(launcher.__file__)"]
    for host in lab.names:
        assert lab.run(host, imported, user=user).stdout.strip().endswith("launcher/__init__.py")


def test_a_command_gets_its_folder_and_environment_and_tells_its_end(lab: Lab) -> None:
    words = ["sh", "-c", "pwd; echo $WORD; echo oh >&2; exit 7"]
    done = lab.run("host1", words, env={"WORD": "a b"}, cwd="/local", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "/local\na b\n", "oh\n")
    with pytest.raises(LabError, match=r"ended with 7(.|\n)*oh"):
        lab.run("host1", words)


def test_a_command_that_takes_too_long_leaves_nothing_running(lab: Lab) -> None:
    words = ["sh", "-c", "setsid sleep 1000 & echo begun; wait"]
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        lab.run("host1", words, env={"MARK": "late"}, timeout_s=5)
    assert "begun" in caught.value.__notes__[0]
    wait_until("its end", lambda: not lab.processes("host1", environ="MARK=late"), WITHIN_S)


def test_what_is_started_is_counted_and_gets_its_signals(lab: Lab) -> None:
    script = "trap 'echo asked; exit 3' TERM; echo begun; sleep 1000 & wait"
    started = lab.start("host2", ["bash", "-c", script], env={"MARK": "mine"})
    wait_until("the script", lambda: "begun" in started.output.read_text(), WITHIN_S)
    wait_until("its child", lambda: len(lab.processes("host2", environ="MARK=mine")) == 2, WITHIN_S)
    assert not lab.processes("host1", environ="MARK=mine")
    started.terminate()
    assert started.wait(WITHIN_S) == 3
    assert started.output.read_text() == "begun\nasked\n"


def test_a_crash_ends_all_processes_and_boot_brings_the_host_back(lab: Lab) -> None:
    lab.run("host3", ["touch", "/local/kept", "/tmp/lost", "/etc/lost"])
    started = lab.start("host3", ["sleep", "1000"])
    lab.crash("host3")
    assert started.wait(WITHIN_S) == -signal.SIGKILL
    assert not lab.alive("host3")
    assert not lab.processes("host3")
    assert "Connection refused" in _why_not_reached(lab, "head", "host3")
    with pytest.raises(LabError, match="host3 is down"):
        lab.run("host3", ["true"])
    lab.boot("host3")
    assert _reaches(lab, "head", "host3")
    found = lab.run("host3", ["ls", "/local/kept", "/tmp/lost", "/etc/lost"], check=False).stdout
    assert found == "/local/kept\n"


def test_a_host_that_lost_its_power_says_nothing(lab: Lab) -> None:
    lab.poweroff("host4")
    assert "timed out" in _why_not_reached(lab, "head", "host4")
    lab.boot("host4")
    assert _reaches(lab, "head", "host4")


def test_a_frozen_host_answers_again_when_thawed(lab: Lab) -> None:
    started = lab.start("host1", ["sh", "-c", "while sleep 0.1; do echo beat; done"])
    wait_until("a beat", lambda: bool(started.output.read_text()), WITHIN_S)
    lab.freeze("host1")
    beats = started.output.read_text()
    assert "timed out during banner exchange" in _why_not_reached(lab, "head", "host1")
    assert started.output.read_text() == beats
    lab.thaw("host1")
    assert _reaches(lab, "head", "host1")
    wait_until("another beat", lambda: started.output.read_text() != beats, WITHIN_S)
    started.kill()
    assert started.wait(WITHIN_S) == -signal.SIGKILL


def test_a_frozen_host_can_be_crashed(lab: Lab) -> None:
    started = lab.start("host1", ["sleep", "1000"])
    lab.freeze("host1")
    lab.crash("host1")
    assert started.wait(WITHIN_S) == -signal.SIGKILL


def test_a_cut_link_comes_back(lab: Lab) -> None:
    lab.link_down("host1")
    assert "timed out" in _why_not_reached(lab, "head", "host1")
    lab.link_up("host1")
    assert _reaches(lab, "head", "host1")


def test_a_partition_cuts_only_the_named_peers(lab: Lab) -> None:
    lab.partition("host1", ["host2"])
    assert "timed out" in _why_not_reached(lab, "host1", "host2")
    assert "timed out" in _why_not_reached(lab, "host2", "host1")
    assert _reaches(lab, "host1", "host3")
    assert _reaches(lab, "host3", "host2")
    lab.heal("host1")
    assert _reaches(lab, "host1", "host2")


def test_a_full_disk_refuses_to_take_more(lab: Lab) -> None:
    lab.fill_disk("host2", "/local/small", 1_000_000)
    write = ["dd", "if=/dev/zero", "of=/local/small/file", "bs=1M", "count=2"]
    assert "No space left" in lab.run("host2", write, check=False).stderr
    lab.repair()
    lab.run("host2", write)


def test_the_shared_folder_turns_read_only_on_one_host(lab: Lab) -> None:
    lab.share_read_only("host2", True)
    touched = lab.run("host2", ["touch", "/shared/file"], check=False)
    assert "Read-only file system" in touched.stderr
    lab.run("host1", ["touch", "/shared/file"])
    lab.share_read_only("host2", False)
    lab.run("host2", ["touch", "/shared/file"])


def test_mending_repairs_whatever_was_broken(lab: Lab) -> None:
    lab.crash("host1")
    lab.poweroff("host2")
    lab.freeze("host3")
    lab.partition("host4", ["head", "host1"])
    lab.repair()
    assert _names_by_ssh(lab, "host4") == list(lab.names)


def test_two_labs_stand_side_by_side_and_leave_nothing_behind(lab: Lab) -> None:
    with Lab(hosts=1) as other:
        assert set(map(other.address, other.names)).isdisjoint(map(lab.address, lab.names))
        assert _names_by_ssh(other, "head") == ["head", "host1"]
        folder = other.folder
    assert not folder.exists()
    assert (
        folder.name
        not in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True)
        .stdout.replace("-", " ")
        .split()
    )
    assert _reaches(lab, "head", "host1")


@pytest.mark.parametrize("user", ["root", "trainer"])
def test_srun_reaches_every_node(slurm_lab: Lab, user: User) -> None:
    done = slurm_lab.run("head", ["srun", "--nodes=4", "--label", "hostname"], user=user)
    assert sorted(done.stdout.splitlines()) == [f"{rank}: host{rank + 1}" for rank in range(4)]


def test_slurm_hands_out_the_gpus_it_was_told_of(slurm_lab: Lab) -> None:
    show = ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES"]
    done = slurm_lab.run("head", ["srun", "--nodes=1", "--gres=gpu:h100:3", *show])
    assert done.stdout == "0,1,2\n"


def test_a_node_that_crashed_works_again_after_mending(slurm_lab: Lab) -> None:
    slurm_lab.crash("host2")
    slurm_lab.crash("head")
    slurm_lab.repair()
    done = slurm_lab.run("head", ["srun", "--nodes=4", "hostname"])
    assert len(done.stdout.split()) == 4


HOLDING_A_LAB = """
import signal, sys
from tests.lab import Lab
with Lab(hosts=1) as lab:
    print(lab.folder, flush=True)
    signal.pause()
"""


def _start_somebody_elses_lab() -> tuple[subprocess.Popen[str], Path]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDING_A_LAB], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    return holder, Path(holder.stdout.readline().strip())


def test_a_lab_goes_down_on_ctrl_c(lab: Lab) -> None:
    holder, folder = _start_somebody_elses_lab()
    with holder:
        assert (folder / "shared").is_dir()
        holder.send_signal(signal.SIGINT)
    assert not folder.exists()
    assert _reaches(lab, "head", "host1")


def test_the_next_lab_clears_away_what_a_killed_one_left(lab: Lab) -> None:
    holder, folder = _start_somebody_elses_lab()
    with holder:
        left = [each for each in records.all_records() if each.folder == folder]
        holder.kill()
    assert Lab.attach(left[0]).alive("host1")
    with Lab(hosts=1) as other:
        assert not Lab.attach(left[0]).alive("host1") or other.folder == folder
        assert _names_by_ssh(other, "host1") == ["head", "host1"]
    assert not folder.exists()
    assert _reaches(lab, "head", "host1")
