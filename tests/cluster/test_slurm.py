"""Runs under a real Slurm: submitted, preempted, started again, cut off, taken over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.checkpoint import list_commits
from launcher.config.text import in_quotes
from launcher.runs import events
from launcher.runs.command_line import escaped
from tests.cluster.slurm_user import COUNT, REPOSITORY, TRAIN, SlurmUser, job_of
from tests.lab import Lab

PREEMPTED = 75


@pytest.fixture
def person(slurm_lab: Lab, request: pytest.FixtureRequest) -> Iterator[SlurmUser]:
    found = SlurmUser(slurm_lab, request.node.name.partition("[")[0])
    found.folder.mkdir()
    yield found
    slurm_lab.run("head", ["scancel", "--user=root"], check=False)

    def all_idle() -> bool:
        return not slurm_lab.run("head", ["squeue", "--noheader"]).stdout.strip()

    found.until("an empty queue", all_idle)


def preempt(person: SlurmUser, job_id: str) -> None:
    """Send what `--signal=B:USR1@N` sends, where it sends it."""
    person.run("scancel", "--batch", "--signal=USR1", job_id)


# --- submitting


def test_the_bundled_script_fine_tunes_a_bert_on_four_nodes(person: SlurmUser) -> None:
    job = person.sbatch(
        TRAIN,
        *("recipe=bert_finetune", "nodes=4", "model=bert_tiny", "device=cpu"),
        *("train.max_steps=6", "checkpoint.every_steps=3"),
    )
    end = person.until_over(job)
    assert (end.state, end.exit_code) == ("COMPLETED", 0), (
        person.folder / f"slurm-{job}.log"
    ).read_text()
    run_id = f"bert_finetune-{job}"
    status = person.status(run_id)
    assert (status.state, status.step, len(status.nodes)) == ("done", 6, 4)
    assert "accuracy" in status.result


def test_a_submitted_run_is_followed_to_its_end_by_an_ordinary_user(slurm_lab: Lab) -> None:
    person = SlurmUser(slurm_lab, "ordinary", user="trainer")
    slurm_lab.run("head", ["install", "-d", "-o", "trainer", person.cwd])
    said = person.launch(
        *("cluster=slurm", "recipe=script", f"script={COUNT}", "args=[8,0.2]", "device=cpu"),
        *("run_id=mine", "nodes=2", "cluster.wait=true"),
    )
    assert "COMPLETED" in said.stdout
    assert person.status("mine").state == "done"
    assert "done: 8 steps" in person.log("mine")
    assert person.launch("status", "mine").stdout.startswith("run         mine: done")


def test_a_failing_run_ends_the_followed_command_and_the_job_with_its_exit_code(
    person: SlurmUser,
) -> None:
    (person.folder / "bad.py").write_text("raise ValueError('boom')\n")
    said = person.launch(
        *("cluster=slurm", "recipe=script", "script=bad.py", "device=cpu", "run_id=bad"),
        "cluster.wait=true",
        check=False,
    )
    assert said.returncode == 5
    assert "ValueError: boom" in said.stdout
    job = person.job(next(person.layout("bad").jobs.glob("*.json")).stem)
    assert (job.state, job.exit_code, job.restarts) == ("FAILED", 5, 0)


def test_arguments_reach_the_ranks_unchanged_and_secrets_by_the_environment(
    person: SlurmUser,
) -> None:
    (person.folder / "show it's.py").write_text(
        "import json, os, sys\n"
        "from pathlib import Path\n"
        "told = [sys.argv[1:], os.environ['HF_TOKEN'], os.environ['WORDS']]\n"
        "Path(os.environ['LAUNCHER_RUN_DIR'], 'told.json').write_text(json.dumps(told))\n"
    )
    hurtful = ["$(touch hurt)", "a; touch hurt", "`touch hurt`", "it's", 'say "x"', "new\nline"]
    hurtful += ["1_000", "2.10", "true", "null", "12:30", "[0,1]", '{"a": 1}', "", "\\${x}", "\x85"]
    quoted = ",".join(in_quotes(escaped(each)) for each in hurtful)
    person.launch(
        *("cluster=slurm", "recipe=script", 'script="show it\'s.py"', "device=cpu", "run_id=q"),
        *(f"args=[{quoted}]", "env.WORDS='$HOME; %x'", "cluster.wait=true"),
        "storage.root=100% $(touch hurt); out",
        env={"HF_TOKEN": "not-to-be-seen"},
    )
    root = person.folder / "100% $(touch hurt); out"
    told = json.loads((root / "runs" / "q" / "told.json").read_text())
    assert told == [hurtful, "not-to-be-seen", "$HOME; %x"]
    assert (root / "runs" / "q" / "jobs" / "submitted-0001").is_dir()
    assert not list(person.folder.rglob("hurt"))
    for path in root.rglob("*"):
        if path.is_file() and path.name != "told.json":
            assert b"not-to-be-seen" not in path.read_bytes(), path


def test_what_is_edited_while_the_job_waits_changes_nothing(person: SlurmUser) -> None:
    group = person.folder / "conf" / "recipe"
    group.mkdir(parents=True)
    (person.folder / "mine.py").write_text(Path(COUNT).read_text())
    recipe = "# @package _global_\nrecipe:\n  program: mine.py\nargs: ['{steps}', '0.1']\n"
    (group / "mine.yaml").write_text(recipe.format(steps=4))
    said = person.launch(
        *("cluster=slurm", "recipe=mine", "device=cpu", "run_id=m"),
        "cluster.slurm.extra=[--hold]",
    )
    job = job_of(said.stdout)
    (group / "mine.yaml").write_text(recipe.format(steps=9))
    (person.folder / "mine.py").write_text("raise SystemExit(3)\n")
    person.run("scontrol", "release", job)
    assert person.until_over(job).state == "COMPLETED", person.log("m")
    assert person.status("m").step == 4


def test_what_slurm_refuses_is_told_in_its_own_words(person: SlurmUser) -> None:
    words = ("cluster=slurm", "recipe=script", f"script={COUNT}", "args=[1,0]", "run_id=x")
    said = person.launch(*words, "cluster.slurm.partition=mian", check=False)
    assert said.returncode == 3
    assert "Invalid partition name specified" in said.stderr
    assert "did you mean `cluster.slurm.partition=main`?" in said.stderr
    said = person.launch(*words, "cluster.slurm.gres=gpu:99", check=False)
    assert said.returncode == 3
    assert "Requested node configuration is not available" in said.stderr
    assert not person.layout("x").path.exists()


def test_a_waiting_run_says_why_and_stop_takes_it_out_of_the_queue(person: SlurmUser) -> None:
    job = person.submit("w", "cluster.slurm.extra=[--hold]")
    shown = person.launch("status", "w").stdout.splitlines()
    assert shown[0] == "run         w: queued"
    assert shown[1] == f"job         {job}: PENDING (JobHeldUser)"
    assert f"cancelled job {job}" in person.launch("stop", "w").stdout
    assert person.job(job).state == "CANCELLED"
    assert "w is not running" in person.launch("stop", "w").stdout


def test_inside_an_allocation_the_command_runs_at_once(person: SlurmUser) -> None:
    words = ("cluster=slurm", "recipe=script", f"script={COUNT}", "args=[3,0.1]", "device=cpu")
    person.run("salloc", "--nodes=2", "--ntasks-per-node=1", "python", "-m", "launcher", *words)
    (layout,) = (person.folder / "outputs" / "runs").iterdir()
    assert person.status(layout.name).state == "done"
    assert len(person.status(layout.name).nodes) == 2
    assert layout.name == f"script-{next(layout.glob('jobs/*.json')).stem}"


# --- started again


def test_a_preempted_run_is_saved_and_goes_on_in_the_same_job(person: SlurmUser) -> None:
    job = person.submit("p", nodes=2, steps="1000,0.2,1000")
    person.until_training("p")
    preempt(person, job)
    person.until_training("p", attempt=2)
    first, second = person.starts("p")
    assert second.resumes_step == list_commits(person.layout("p").checkpoints)[0].step
    assert first.job
    assert second.job
    assert (first.job.job_id, first.job.restarts) == (job, 0)
    assert (second.job.job_id, second.job.restarts) == (job, 1)
    person.hurry("p")
    end = person.until_over(job)
    assert (end.state, end.exit_code, end.restarts) == ("COMPLETED", 0, 1)
    assert f"Slurm requeues job {job}" in person.log("p")
    assert "done: 1000 steps" in person.log("p")  # appended, not written over


def test_a_run_goes_on_when_its_time_is_over(person: SlurmUser) -> None:
    job = person.submit("t", "cluster.slurm.time=60", steps="100000,0.2,100000")
    person.until_training("t")
    person.let_time_run_out(job, "t")
    person.until_training("t", attempt=2)
    assert "SIGUSR1: the time limit is near" in person.log("t")
    assert person.starts("t")[1].resumes_step
    person.hurry("t")
    person.launch("stop", "t")
    person.until_over(job)


def test_a_signal_to_every_process_of_the_step_saves_as_well(person: SlurmUser) -> None:
    """`--signal=USR1@N` without `B:` also hits data-loader workers, and not the launcher."""
    program = str(REPOSITORY / "tests" / "cluster" / "programs" / "load.py")
    job = person.sbatch(
        *("--nodes=2", "--signal=USR1@90", "--time=60", TRAIN),
        *("recipe=script", f"script={program}", "device=cpu", "run_id=s"),
    )
    person.until_training("s")
    person.let_time_run_out(job, "s")
    person.until_training("s", attempt=2)
    told = events.history(person.layout("s"))
    ended = next(each for each in told if isinstance(each, events.AttemptEnded))
    assert ended.cause == "checkpoint saved"
    assert not any(isinstance(each, events.RankFailed) for each in told)
    assert person.starts("s")[1].resumes_step
    person.hurry("s")
    assert person.until_over(job).state == "COMPLETED"


def test_a_cancelled_job_stays_cancelled(person: SlurmUser) -> None:
    job = person.submit("c")
    person.until_training("c")
    person.run("scancel", job)
    end = person.until_over(job)
    assert (end.state, end.restarts) == ("CANCELLED", 0)
    assert "so it is not requeued" in person.log("c")


def test_a_stopped_run_is_not_started_again(person: SlurmUser) -> None:
    job = person.submit("s")
    person.until_training("s")
    person.launch("stop", "s")
    end = person.until_over(job)
    assert (end.state, end.exit_code, end.restarts) == ("FAILED", 130, 0)
    assert person.status("s").state == "stopped"


def test_an_administrators_requeue_starts_it_again_once(person: SlurmUser) -> None:
    job = person.submit("r", nodes=2)
    person.until_training("r", step=3)
    person.run("scontrol", "requeue", job)
    person.until_training("r", attempt=2)
    assert person.starts("r")[1].resumes_step
    person.hurry("r")
    end = person.until_over(job)
    assert (end.state, end.restarts) == ("COMPLETED", 1)


def test_only_the_task_that_was_preempted_is_started_again(person: SlurmUser) -> None:
    job = person.submit("a", "cluster.slurm.array=0-2")
    for task in range(3):
        person.until_training(f"a-{task}")
    # The last task has the id of the whole array: requeued by that, all would start again.
    preempt(person, f"{job}_2")
    person.until_training("a-2", attempt=2)
    for task in range(3):
        person.hurry(f"a-{task}")
    person.until("the end of the array", lambda: all(each.over for each in person.jobs(job)))
    restarts = {each.task: each.restarts for each in person.jobs(job)}
    assert restarts == {"0": 0, "1": 0, "2": 1}
    states = {task: person.status(f"a-{task}") for task in range(3)}
    assert {status.state for status in states.values()} == {"done"}
    assert [states[task].attempt for task in range(3)] == [1, 1, 2]


def test_jobs_of_a_chain_go_on_with_the_same_run(person: SlurmUser) -> None:
    first = person.submit("chain", "cluster.slurm.requeue=false")
    second = person.submit("chain", f"cluster.slurm.dependency=afterany:{first}")
    person.until_training("chain")
    assert person.job(second).reason == "Dependency"
    preempt(person, first)
    end = person.until_over(first)
    assert (end.state, end.exit_code, end.restarts) == ("FAILED", PREEMPTED, 0)
    person.until_training("chain", attempt=2)
    starts = person.starts("chain")
    assert [each.job.job_id for each in starts if each.job] == [first, second]
    assert starts[1].resumes_step
    person.hurry("chain")
    assert person.until_over(second).state == "COMPLETED"


def test_a_heterogeneous_job_trains_on_both_of_its_parts(person: SlurmUser) -> None:
    script = str(REPOSITORY / "slurm" / "hetero.sbatch")
    job = person.sbatch(
        *(script, "recipe=script", f"script={COUNT}", "args=[1000,0.2]", "device=cpu", "run_id=h")
    )
    person.until_training("h")
    assert len(person.status("h").nodes) == 3
    preempt(person, job)
    person.until_training("h", attempt=2)
    person.hurry("h")
    person.until("the end of both parts", lambda: all(each.over for each in person.jobs(job)))
    assert {each.state for each in person.jobs(job)} == {"COMPLETED"}
    assert person.status("h").state == "done"


# --- lost and cut off


def test_a_run_whose_head_crashed_goes_on_elsewhere_without_delay(
    person: SlurmUser, slurm_lab: Lab
) -> None:
    job = person.submit("n", nodes=2)
    person.until_training("n", step=3)
    head = slurm_lab.run("head", ["squeue", "-h", "-j", job, "-o", "%B"]).stdout.strip()
    slurm_lab.crash(head)
    person.until_training("n", attempt=2)
    second = person.starts("n")[-1]
    assert second.job
    assert second.job.restarts == 1
    assert second.resumes_step
    assert "already has a supervisor" not in person.log("n")
    person.hurry("n")
    assert person.until_over(job).state == "COMPLETED"


def test_an_incarnation_that_was_cut_off_publishes_nothing_and_ends_itself(
    person: SlurmUser, slurm_lab: Lab
) -> None:
    job = person.submit("cut", steps="100000,0.2,2")
    person.until_training("cut", step=3)
    head = slurm_lab.run("head", ["squeue", "-h", "-j", job, "-o", "%B"]).stdout.strip()
    slurm_lab.partition(head, [name for name in slurm_lab.names if name != head])

    def ours() -> int:
        return len(slurm_lab.processes(head, environ="LAUNCHER_RUN_ID=cut"))

    person.until_training("cut", attempt=2)
    person.until("the end of the first incarnation", lambda: ours() == 0)
    told = events.read(person.layout("cut").attempt(1).events)
    # Its supervisor saw the newer attempt, or a save of its ranks was refused just before.
    assert any(
        (isinstance(each, events.Killed) and "has taken over" in each.reason)
        or (isinstance(each, events.RankFailed) and "generation 2 was claimed" in each.what)
        for each in told
    )
    assert not any(isinstance(each, events.RunEnded) for each in told)
    assert "run `cut` was taken over: another supervisor started attempt 2" in person.log("cut")
    second = person.starts("cut")[1]
    for commit in list_commits(person.layout("cut").checkpoints):
        counts = commit.generation == 2 or commit.step <= (second.resumes_step or 0)
        assert counts != commit.superseded, commit
    slurm_lab.heal(head)
    person.launch("stop", "cut")
    person.until_over(job)
    assert person.status("cut").state == "stopped"


def test_with_too_few_nodes_left_the_job_is_started_again_on_others(
    person: SlurmUser, slurm_lab: Lab
) -> None:
    job = person.submit(
        "few",
        *("cluster.min_nodes=2", "supervise.lost_after_s=5"),
        "cluster.slurm.extra=[--no-kill]",  # else Slurm ends the job by itself
        nodes=2,
    )
    person.until_training("few", step=3)
    nodes = [node.node for node in person.status("few").nodes]
    slurm_lab.crash(nodes[1])
    person.until_training("few", attempt=2)
    assert person.starts("few")[1].resumes_step
    left = [node.node for node in person.status("few").nodes]
    assert len(left) == 2
    assert nodes[1] not in left
    assert f"Slurm requeues job {job}" in person.log("few")
    person.hurry("few")
    assert person.until_over(job).state == "COMPLETED"
