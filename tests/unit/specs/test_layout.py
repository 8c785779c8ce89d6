"""Paths of a run folder are a promise: people's scripts read them."""

from launcher.specs import RunLayout


def test_the_run_folder_has_its_documented_paths() -> None:
    run = RunLayout.of("/data", "r1")
    attempt = run.attempt(3)
    assert run.run_id == "r1"
    assert [str(path) for path in (run.config, run.plan, run.checkpoints, run.report)] == [
        "/data/runs/r1/config.yaml",
        "/data/runs/r1/plan.json",
        "/data/runs/r1/checkpoints",
        "/data/runs/r1/report.html",
    ]
    assert str(attempt.rank_log(0, 3)) == "/data/runs/r1/attempts/0003/logs/node00-rank0003.log"
    assert str(attempt.rank_record(3)) == "/data/runs/r1/attempts/0003/ranks/0003.json"
