"""Asks accounts whose logins are odd, then starts a command in each that answered.

`start_files.py FOLDER` reads `FOLDER/accounts.json`, a list of [name, destination], and writes
`FOLDER/answers.json`: name -> [value, problem, hint, what the command reports or why it did not].
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from launcher.errors import PreflightError
from launcher.specs import Command, Node
from launcher.transports import Reach
from launcher.transports.ssh import SshTransport

QUESTION = "import json, sys; print(json.dumps({'got': json.load(sys.stdin)}))"
REPORTS = """
import json, os, signal, sys
umask = os.umask(0)
ignored = [n for n in (1, 2, 3, 10, 12, 15) if signal.getsignal(n) is signal.SIG_IGN]
of_python = sorted(name for name in os.environ if name.startswith("PYTHON"))
print(json.dumps({"umask": umask, "ignored": ignored, "argument": sys.argv[1],
                  "python": of_python, "token": os.environ.get("HF_TOKEN")}))
"""
ARGUMENT = "ünïcödé 模型"


def main(folder: Path) -> None:
    accounts = json.loads((folder / "accounts.json").read_text())
    nodes = tuple(
        Node(node_rank=rank, name=name, address=name, ssh=destination, slots=1)
        for rank, (name, destination) in enumerate(accounts)
    )
    os.environ["HF_TOKEN"] = "hf_secret"
    os.umask(0o027)
    with closing(SshTransport(Reach(nodes=nodes, python=sys.executable))) as transport:
        answers = transport.ask(QUESTION, {node.node_rank: {} for node in nodes}, timeout_s=60)
        fine = [node for node in nodes if answers[node.node_rank].value is not None]
        with ThreadPoolExecutor(8) as pool:
            reports = pool.map(lambda node: start(transport, node, folder), fine)
            reported = dict(zip((node.name for node in fine), reports, strict=True))
    written = {
        node.name: [answer.value, answer.problem, answer.hint, reported.get(node.name)]
        for node, answer in ((node, answers[node.node_rank]) for node in nodes)
    }
    (folder / "answers.json").write_text(json.dumps(written))


def start(transport: SshTransport, node: Node, folder: Path) -> Any:
    log = folder / "logs" / f"{node.name}.log"
    argv = (sys.executable, "-c", REPORTS, ARGUMENT)
    command = Command(node_rank=node.node_rank, argv=argv, cwd="/")
    try:
        process = transport.start([command], logs={node.node_rank: log})[node.node_rank]
        process.wait(60)
        return json.loads(log.read_text().splitlines()[-1])
    except (PreflightError, ValueError, OSError, IndexError) as error:
        return f"{error} {getattr(error, 'hint', '')}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
