"""Nodes run the frozen code: they need no checkout, and no installed launcher."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.training import WITHIN_S, Training, training
from tests.lab import Lab
from tests.lab.host import REPOSITORY

TWO = "cluster.hosts=[host1,host2]"


@pytest.fixture
def run(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Training]:
    with training(lab, f"run-{abs(hash(request.node.name))}") as made:
        yield made


@pytest.mark.parametrize(
    ("program", "imports"),
    [("script=train.py", "import helper"), ("module=pkg.train", "from pkg import helper")],
    ids=["script", "module"],
)
def test_nodes_without_the_launcher_and_the_project_run_them(
    run: Training, program: str, imports: str
) -> None:
    for host in ("host1", "host2"):
        run.lab.fill_disk(host, str(REPOSITORY), 1_000_000)  # an empty disk hides the checkout
        assert run.lab.run(host, ["ls", str(REPOSITORY)]).stdout == ""
    run.lab.run("head", ["mkdir", "-p", "/local/project/src/pkg"])
    project = run.lab.local("head") / "project"
    folder = project / "src" / "pkg" if program.startswith("module") else project
    (folder / "helper.py").write_text("NAME = 'mine'\n")
    script = f"import os\n{imports}\nprint('ran', helper.NAME, os.getcwd())\n"
    (folder / "train.py").write_text(script)
    process = run.lab.start(
        "head",
        [
            *("python", "-m", "launcher", "recipe=script", program, TWO),
            *(f"run_id={run.run_id}", "cluster=hostfile", "device=cpu", "slots=1"),
            *(f"storage.root={run.there}/outputs", "preflight.min_free_gb=0"),
        ],
        cwd="/local/project",
        env={"PYTHONPATH": f"{REPOSITORY}:/local/project/src"},
    )
    run.started.append(process)
    assert process.wait(WITHIN_S) == 0, process.output.read_text()
    for number in (0, 1):
        log = run.run / "attempts" / "0001" / "logs" / f"node{number:02d}-rank{number:04d}.log"
        said = log.read_text()
        assert "/local/project does not exist on this node: running in /shared/" in said
        assert "ran mine /shared/" in said


def test_an_edit_while_the_run_goes_on_changes_nothing_on_any_host(run: Training) -> None:
    supervisor = run.start("head", "cluster.hosts=[host1,host2,host3]", "nodes=2")
    run.wait_until_step(6)
    (run.folder / "train.py").write_text("raise SystemExit('edited')\n")
    run.lab.crash("host2")
    assert supervisor.wait(WITHIN_S) == 0, supervisor.output.read_text()
    assert run.nodes(2) == ["host1", "host3"]
    assert sorted(run.samples()) == list(range(12 * 40))
