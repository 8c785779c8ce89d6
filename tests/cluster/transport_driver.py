"""Holds a transport on one host of a lab, and writes down what becomes of its commands.

`python -m tests.cluster.transport_driver ssh /shared/FOLDER MARK host1 host2` starts a deaf tree of
two processes on each host, and closes the transport when `FOLDER/close` appears.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from launcher.specs import Command, Node
from launcher.transports import Process, Reach, create

LOST_AFTER_S = 6.0
DEAF_TREE = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
time.sleep(600)
"""


def nodes_of(names: list[str]) -> tuple[Node, ...]:
    return tuple(
        Node(node_rank=rank, name=name, address=name, ssh=name, slots=1)
        for rank, name in enumerate(names)
    )


def main(kind: str, folder: Path, mark: str, names: list[str]) -> None:
    nodes = nodes_of(names)
    transport = create(kind, Reach(nodes=nodes, python=sys.executable, lost_after_s=LOST_AFTER_S))
    commands = [
        Command(
            node_rank=node.node_rank,
            argv=(sys.executable, "-c", DEAF_TREE),
            env={"LT_MARK": mark, "LAUNCHER_GRACE_S": "0"},
            cwd="/",
        )
        for node in nodes
    ]
    processes = transport.start(
        commands, logs={node.node_rank: folder / f"{node.name}.log" for node in nodes}
    )
    while not (folder / "close").exists():
        _write(folder, names, processes)
        time.sleep(0.05)
    transport.close()
    _write(folder, names, processes)


def _write(folder: Path, names: list[str], processes: dict[int, Process]) -> None:
    states = {
        name: {"code": processes[rank].poll(), "lost": processes[rank].lost}
        for rank, name in enumerate(names)
    }
    draft = folder / "states.new"
    draft.write_text(json.dumps(states))
    draft.replace(folder / "states.json")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
