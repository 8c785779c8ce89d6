"""`srun` in allocations of a real Slurm."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.transport_held import ask, held
from tests.lab import Lab
from tests.lab.commands import wait_until
from tests.lab.host import REPOSITORY

HOSTS = ("host1", "host2", "host3")
OTHERS = ("host1", "host3")
# --no-kill: the job outlives the loss of a node. What follows the supervisor keeps the allocation.
ALLOCATION = ("salloc", "--quiet", "--nodes=3", "--nodelist=host[1-3]", "--no-kill")
GOES_ON = (*ALLOCATION, "bash", "-c", '"$@"; sleep 600', "-")


def test_the_contract_of_transports_holds_in_a_job(slurm_lab: Lab) -> None:
    script = slurm_lab.shared / "contract.sh"
    suite = f"{sys.executable} -m pytest -q -p no:cacheprovider tests/contract/test_transports.py"
    script.write_text(f"#!/bin/sh\ncd {REPOSITORY} && {suite} -k srun\n")
    batch = [
        "sbatch",
        "--wait",
        "--nodes=1",
        "--output=/shared/contract.log",
        "/shared/contract.sh",
    ]
    done = slurm_lab.run("head", batch, check=False, timeout_s=300)
    log = (slurm_lab.shared / "contract.log").read_text()
    assert done.returncode == 0, log
    assert " passed" in log
    assert "skipped" not in log


def test_commands_run_on_all_nodes_and_close_leaves_none(slurm_lab: Lab) -> None:
    with held(slurm_lab, "srun", HOSTS, ALLOCATION) as commands:
        assert all(state == {"code": None, "lost": ""} for state in commands.states().values())
        commands.close()
        assert all(state == {"code": -9, "lost": ""} for state in commands.states().values())
        assert commands.is_gone_from(*HOSTS)


def test_a_crashed_node_is_lost_and_the_others_go_on(slurm_lab: Lab) -> None:
    with held(slurm_lab, "srun", HOSTS, ALLOCATION) as commands:
        slurm_lab.crash("host2")
        commands.wait_for("the loss", lambda: bool(commands.state("host2")["lost"]))
        assert commands.state("host2")["code"] == -9
        assert all(commands.state(host) == {"code": None, "lost": ""} for host in OTHERS)
        assert commands.lives_on(*OTHERS)
        commands.close()
        assert commands.is_gone_from(*OTHERS)


def test_a_frozen_node_is_lost_and_ends_everything_when_it_thaws(slurm_lab: Lab) -> None:
    with held(slurm_lab, "srun", HOSTS, ALLOCATION) as commands:
        slurm_lab.freeze("host2")
        commands.wait_for("the loss", lambda: bool(commands.state("host2")["lost"]))
        assert commands.state("host2")["lost"].endswith("from host2")
        slurm_lab.thaw("host2")
        commands.wait_for("the end on host2", lambda: commands.is_gone_from("host2"))
        assert commands.lives_on(*OTHERS)
        commands.close()


def test_a_node_that_is_cut_off_ends_everything_by_itself(slurm_lab: Lab) -> None:
    with held(slurm_lab, "srun", HOSTS, ALLOCATION) as commands:
        slurm_lab.partition("host2", ["head"])
        commands.wait_for("the loss", lambda: bool(commands.state("host2")["lost"]))
        commands.wait_for("the end on host2", lambda: commands.is_gone_from("host2"))
        assert commands.lives_on(*OTHERS)
        commands.close()


def test_when_the_supervisor_is_killed_nothing_goes_on_though_the_job_does(slurm_lab: Lab) -> None:
    with held(slurm_lab, "srun", HOSTS, GOES_ON) as commands:
        commands.kill_the_supervisor()
        commands.wait_for("the end", lambda: commands.is_gone_from(*HOSTS))
        assert commands.driver.poll() is None


def test_when_srun_is_killed_all_nodes_are_lost_and_nothing_goes_on(slurm_lab: Lab) -> None:
    with held(slurm_lab, "srun", HOSTS, ALLOCATION) as commands:
        steps = [each.pid for each in slurm_lab.processes("head") if "srun --nodes" in each.command]
        slurm_lab.run("head", ["kill", "-KILL", *map(str, steps)])
        commands.wait_for(
            "the loss", lambda: all(each["lost"] for each in commands.states().values())
        )
        commands.wait_for("the end", lambda: commands.is_gone_from(*HOSTS))


def test_when_the_job_is_cancelled_nothing_goes_on(slurm_lab: Lab) -> None:
    with held(slurm_lab, "srun", HOSTS, ALLOCATION) as commands:
        slurm_lab.run("head", ["scancel", "--state=RUNNING", "--user=root"])
        commands.wait_for("the end", lambda: commands.is_gone_from(*HOSTS))


def test_a_node_that_is_down_does_not_keep_the_others_from_answering(slurm_lab: Lab) -> None:
    for name in ("allocated", "crashed"):
        (slurm_lab.shared / name).unlink(missing_ok=True)
    wait = 'touch /shared/allocated; until [ -e /shared/crashed ]; do sleep 0.1; done; exec "$@"'

    def crash_once_allocated() -> None:
        wait_until("the job", (slurm_lab.shared / "allocated").exists, 60)
        slurm_lab.crash("host2")
        (slurm_lab.shared / "crashed").touch()

    with ThreadPoolExecutor(1) as pool:
        crashing = pool.submit(crash_once_allocated)
        answers = ask(slurm_lab, "srun", HOSTS, (*ALLOCATION, "sh", "-c", wait, "-"))
        crashing.result()
    assert answers["host1"] == [{"host": "host1"}, "", ""]
    assert answers["host3"] == [{"host": "host3"}, "", ""]
    _, problem, hint = answers["host2"]
    assert "Communication connection failure" in problem
    assert "sinfo" in hint


# --- what commands see

SEEING = """
import json, os, sys
from launcher.transports import Reach, create
from tests.cluster.transport_driver import nodes_of
import dataclasses
nodes = [dataclasses.replace(node, gpus=tuple("01234567"[:int(count)]))
         for node, count in zip(nodes_of(sys.argv[2:]), sys.argv[1].split(","))]
transport = create("srun", Reach(nodes=tuple(nodes), python=sys.executable))
source = "import json, os; print(json.dumps(dict(os.environ)))"
answers = transport.ask(source, dict.fromkeys(range(len(nodes)), {}), timeout_s=20)
transport.close()
print(json.dumps([answer.value or answer.problem for answer in answers.values()]))
"""


def see(lab: Lab, gpus: str, hosts: tuple[str, ...], *options: str) -> list[dict[str, str]]:
    """Return the environment that a question finds on each of `hosts` in such a job."""
    job = ["salloc", "--quiet", f"--nodelist={','.join(hosts)}", *options]
    words = [*job, sys.executable, "-c", SEEING, gpus, *hosts]
    done = lab.run("head", words, cwd=str(REPOSITORY), timeout_s=120)
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


LARGE = """
import json, sys
from launcher.transports import Reach, create
from tests.cluster.transport_driver import nodes_of
nodes = nodes_of(sys.argv[1:])
transport = create("srun", Reach(nodes=nodes, python=sys.executable))
source = "import json; print(json.dumps({'text': chr(34) * 100_000 + chr(92) * 100_000}))"
answers = transport.ask(source, dict.fromkeys(range(len(nodes)), {}), timeout_s=100)
transport.close()
wanted = {"text": chr(34) * 100_000 + chr(92) * 100_000}
print([answer.problem or answer.value == wanted for answer in answers.values()])
"""


def test_large_answers_of_several_nodes_do_not_mix(slurm_lab: Lab) -> None:
    words = [*ALLOCATION, sys.executable, "-c", LARGE, *HOSTS]
    done = slurm_lab.run("head", words, cwd=str(REPOSITORY), timeout_s=400)
    assert done.stdout == "[True, True, True]\n"


@pytest.mark.parametrize(
    ("options", "gpus"),
    [
        (("--gpus-per-node=8",), "8,8"),
        (("--gres=gpu:8",), "8,8"),
        (("--gpus=16",), "8,8"),
        (("--ntasks=16", "--ntasks-per-node=8", "--gpus-per-task=1"), "8,8"),
        (("--ntasks=8", "--gpus-per-task=1"), "7,1"),  # Slurm packs them so
        (("--gpus=6", "--ntasks-per-node=3"), "5,1"),
        (("--gres=gpu:2", "--ntasks=4", "--cpus-per-task=4"), "2,2"),
    ],
)
def test_a_node_sees_all_its_gpus_however_the_job_asked_for_them(
    slurm_lab: Lab, options: tuple[str, ...], gpus: str
) -> None:
    seen = see(slurm_lab, gpus, ("host1", "host2"), "--nodes=2", *options)
    counts = [len(each["CUDA_VISIBLE_DEVICES"].split(",")) for each in seen]
    assert counts == [int(count) for count in gpus.split(",")]


def test_no_command_takes_itself_for_a_task_of_slurm(slurm_lab: Lab) -> None:
    (seen,) = see(slurm_lab, "0", ("host1",), "--ntasks=4")
    assert seen["SLURM_NTASKS"] == "4"
    assert seen["SLURMD_NODENAME"] == "host1"
    assert not [name for name in seen if name.startswith(("SLURM_PROCID", "SLURM_STEP", "PMI"))]


def test_all_parts_of_a_heterogeneous_job_are_reached(slurm_lab: Lab) -> None:
    script = slurm_lab.shared / "parts.sh"
    words = f'{sys.executable} -c "$SEEING" 0,0,0 host1 host2 host3'
    script.write_text(
        "#!/bin/sh\n#SBATCH --nodes=1 --nodelist=host1\n#SBATCH hetjob\n"
        "#SBATCH --nodes=2 --nodelist=host[2-3]\n"
        f"cd {REPOSITORY} && {words}\n"
    )
    batch = ["sbatch", "--wait", "--output=/shared/parts.log", "/shared/parts.sh"]
    done = slurm_lab.run("head", batch, env={"SEEING": SEEING}, check=False, timeout_s=120)
    log = (slurm_lab.shared / "parts.log").read_text()
    assert done.returncode == 0, log
    assert [each["SLURMD_NODENAME"] for each in json.loads(log)] == list(HOSTS)
