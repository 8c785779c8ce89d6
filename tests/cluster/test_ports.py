"""What listens on several hosts: only what docs/ports.md lists, only where it says."""

from __future__ import annotations

import json
import sys

import pytest

from tests.cluster.training import training
from tests.lab import Lab
from tests.lab.host import REPOSITORY
from tests.listening import documented
from tests.needs import need

LOOK = """
import json, pathlib, sys
from tests.listening import observed
folder, address, *pids = sys.argv[1:]
print(json.dumps(sorted(observed(pathlib.Path(folder), map(int, pids), [address]))))
"""


@pytest.mark.parametrize("backend", ["torchrun", "horovod", "mpi", "horovod_mpi"])
def test_only_what_the_documentation_lists_listens(lab: Lab, backend: str) -> None:
    hosts = ("host1", "host2")
    with training(lab, f"ports-{need(backend)}") as run:
        among = f"cluster.hosts=[{','.join(hosts)}]"
        run.start("host1", among, f"backend={backend}", "slots=2", steps=999)
        run.wait_until_step(3)
        found: set[tuple[str, str]] = set()
        for host in hosts:
            mark = f"LAUNCHER_RUN_ID={run.run_id}"
            pids = [str(each.pid) for each in lab.processes(host, environ=mark)]
            folder = f"{run.there}/outputs/runs/{run.run_id}"
            look = [sys.executable, "-c", LOOK, folder, lab.address(host), *pids]
            seen = lab.run(host, look, env={"PYTHONPATH": str(REPOSITORY)})
            found |= {(process, where) for process, where in json.loads(seen.stdout)}
        rows = documented(backend, several_nodes=True)
        assert found <= rows
        assert {process for process, _ in rows - found} <= {"rank"}
