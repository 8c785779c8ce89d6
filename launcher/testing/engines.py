"""What every engine must do, checked on real ranks that the backend's own commands start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import pytest

from launcher import engines, plan
from launcher.errors import EngineMissingError
from launcher.specs import CheckpointPolicy, Cluster, Node, Plan, Program, from_json, to_json

__all__ = ["EngineContract"]

CHECKS = ("reductions", "broadcasts", "gathering", "votes", "training", "shards", "barriers")
_TIMEOUT_S = 100


class EngineContract:
    """Subclass it as `class TestMine(EngineContract)` and set `backend`.

    The suite starts `ranks` ranks on this machine once per class, runs
    `launcher.testing.engine_checks` on them, and reports each check as a test. It is skipped, with
    the command that installs what is missing, where the backend's libraries are not installed.
    """

    backend: ClassVar[str]
    """What the user types: `backend=NAME`."""
    engine: ClassVar[str] = ""
    """`Engine.name` in the ranks; empty if it equals `backend`."""
    ranks: ClassVar[int] = 3

    @pytest.fixture(scope="class")
    @classmethod
    def contract_plan(cls, tmp_path_factory: pytest.TempPathFactory) -> Plan:
        """Return a plan for one node of this machine."""
        try:
            engines.require(cls.backend)
        except EngineMissingError as error:
            pytest.skip(f"{error.message}: {error.hint}")
        return _plan(cls.backend, cls.ranks, tmp_path_factory.mktemp(cls.backend))

    @pytest.fixture(scope="class")
    @classmethod
    def results(cls, contract_plan: Plan) -> list[dict[str, str]]:
        """Return what each rank found, in the order of ranks."""
        return _run(contract_plan)

    @pytest.mark.parametrize("check", CHECKS)
    def test_every_rank_passes(self, results: list[dict[str, str]], check: str) -> None:
        assert [result[check] for result in results] == [""] * self.ranks

    def test_the_engine_has_its_name(self, results: list[dict[str, str]]) -> None:
        assert {result["name"] for result in results} == {self.engine or self.backend}

    def test_the_commands_are_a_pure_function_of_the_request(self, contract_plan: Plan) -> None:
        folder = Path(contract_plan.storage_root)
        port = contract_plan.rendezvous.port
        assert _plan(self.backend, self.ranks, folder, port).commands == contract_plan.commands

    def test_a_plan_round_trips_through_json(self, contract_plan: Plan) -> None:
        assert from_json(Plan, to_json(contract_plan)) == contract_plan

    def test_every_command_is_for_a_node_of_the_cluster(self, contract_plan: Plan) -> None:
        nodes = {node.node_rank for node in contract_plan.cluster.nodes}
        assert contract_plan.commands
        assert {command.node_rank for command in contract_plan.commands} <= nodes


def _plan(backend: str, ranks: int, folder: Path, port: int = 0) -> Plan:
    node = Node(node_rank=0, name="local0", address="127.0.0.1", slots=ranks, cpus=ranks)
    with resources.as_file(resources.files("launcher.testing") / "engine_checks.py") as program:
        return plan.build(
            plan.PlanRequest(
                run_id="contract",
                attempt=1,
                storage_root=str(folder),
                cluster=Cluster(source="local", nodes=(node,)),
                backend=backend,
                program=Program(path=str(program), args=(str(folder),), recipe="contract"),
                python=sys.executable,
                cwd=str(folder),
                checkpoint=CheckpointPolicy(every_steps=0, keep=2, resume="never"),
                port=port or _free_port(),
            )
        )


def _run(made: Plan) -> list[dict[str, str]]:
    (command,) = made.commands
    process = subprocess.Popen(
        command.argv,
        env={**os.environ, **command.env},
        cwd=command.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=_TIMEOUT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 0, output
    assert "Traceback" not in output, output
    files = sorted(Path(made.storage_root).glob("*.json"))
    results: list[dict[str, Any]] = [json.loads(path.read_text("utf-8")) for path in files]
    assert len(results) == made.cluster.world_size, output
    return results


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
