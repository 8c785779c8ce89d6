"""Secrets among arguments reach the ranks on other hosts, and nothing on any host shows them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cluster.slurm_user import SlurmUser
from tests.lab import Lab
from tests.needs import need

PLANTED = "PLANTED-aB3dE6, with words"
PROGRAM = """
import json, os, pathlib, sys
from launcher import runtime

ctx, run, own = runtime.init(), b"LAUNCHER_RUN_ID=" + os.environ["LAUNCHER_RUN_ID"].encode(), []
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if run in (folder / "environ").read_bytes().split(b"\\0"):
            own.append((folder / "cmdline").read_text())
    except OSError:
        pass
values = {"argv": sys.argv[1:], "params": ctx.config["params"], "processes": own}
pathlib.Path(f"seen-{ctx.rank}.json").write_text(json.dumps(values))
ctx.engine.barrier(60)
"""
ARGV = ["--lr", "1e-4", "--password", PLANTED]
SECRETS = (f"args=[--lr,'1e-4',--password,'{PLANTED}']", f"params.db.password='{PLANTED}'")


def seen_by(folder: Path, ranks: int) -> None:
    """Check what the ranks saw, and what was stored."""
    for rank in range(ranks):
        found = json.loads((folder / f"seen-{rank}.json").read_text())
        assert found["argv"] == ARGV
        assert found["params"] == {"db": {"password": PLANTED}}
        assert found["processes"]
        assert "PLANTED" not in "".join(found["processes"])
    for path in (folder / "outputs").rglob("*"):
        assert not path.is_file() or b"PLANTED" not in path.read_bytes(), path


@pytest.mark.parametrize("backend", ["torchrun", "mpi"])
def test_over_ssh(lab: Lab, backend: str) -> None:
    need(backend)
    folder = lab.shared / f"secrets-{backend}"
    folder.mkdir()
    (folder / "show.py").write_text(PROGRAM)
    done = lab.run(
        "head",
        [
            *(sys.executable, "-m", "launcher", "recipe=script", "script=show.py", "device=cpu"),
            *("cluster=hostfile", "cluster.hosts=[host1,host2]", f"backend={backend}", *SECRETS),
        ],
        cwd=f"/shared/{folder.name}",
        timeout_s=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PLANTED" not in done.stdout + done.stderr
    seen_by(folder, 2)


def test_under_slurm(slurm_lab: Lab) -> None:
    person = SlurmUser(slurm_lab, "secrets")
    person.folder.mkdir()
    (person.folder / "show.py").write_text(PROGRAM)
    said = person.launch(
        *("cluster=slurm", "recipe=script", "script=show.py", "device=cpu", "nodes=2"),
        *("run_id=s", "cluster.wait=true", *SECRETS),
    )
    assert "PLANTED" not in said.stdout + said.stderr
    seen_by(person.folder, 2)
    jobs = person.run("scontrol", "show", "job", "--oneliner")
    assert "PLANTED" not in jobs.stdout
    refused = person.launch("resume", "s", check=False)
    assert refused.returncode == 2
    assert "export LAUNCHER_SECRET_PASSWORD" in refused.stderr
