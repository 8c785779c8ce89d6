"""What listens on several hosts: only what docs/ports.md lists, only where it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.training import training
from tests.lab import Lab
from tests.listening import documented, listening, observed
from tests.needs import need


@pytest.mark.parametrize("backend", ["torchrun", "horovod", "mpi", "horovod_mpi"])
def test_only_what_the_documentation_lists_listens(lab: Lab, backend: str) -> None:
    hosts = ("host1", "host2")
    with training(lab, f"ports-{need(backend)}") as run:
        run.start(
            "head", f"cluster.hosts=[{','.join(hosts)}]", f"backend={backend}", "slots=2", steps=999
        )
        run.wait_until_step(3)
        mark = f"LAUNCHER_RUN_ID={run.run_id}"
        pids = [each.pid for name in ("head", *hosts) for each in lab.processes(name, environ=mark)]
        found = observed(run.run, pids, [lab.address(name) for name in hosts])
        rows = documented(backend, several_nodes=True)
        print(sorted(listening(pids)))
        assert found <= rows
        assert {process for process, _ in rows - found} <= {"rank"}
        assert not any(mark in Path(f"/proc/{pid}/cmdline").read_text() for pid in pids)
