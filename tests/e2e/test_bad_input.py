"""What a person gets for a mistake: a sentence, a way out, the documented code, no traceback."""

from __future__ import annotations

import socket
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

MISTAKES = {
    "unknown recipe": (["recipe=bert_finetun"], 2, "did you mean `bert_finetune`"),
    "no recipe": ([], 2, "recipe="),
    "unknown key": (["recipe=script", "train.max_step=3"], 2, "train.max_steps"),
    "unknown verb": (["pln", "recipe=script"], 2, "plan"),
    "bad value": (["recipe=script", "script=x.py", "device=gpu"], 2, "cuda"),
    "bad number": (["recipe=script", "script=x.py", "nodes=two"], 2, "nodes"),
    "script not found": (["recipe=script", "script=trian.py"], 3, "train.py"),
    "no gpu": (["recipe=script", "script=train.py", "device=cuda"], 3, "device=cpu"),
    "storage not writable": (
        ["recipe=script", "script=train.py", "storage.root=/proc/none"],
        3,
        "/proc/none",
    ),
    "storage in a bucket": (["recipe=script", "script=train.py", "storage.root=s3://b/x"], 2, "s3"),
    "unknown run": (["why", "nothing-there"], 2, "run"),
    "hostfile not found": (
        ["recipe=script", "script=train.py", "cluster=hostfile", "cluster.hostfile=host.txt"],
        2,
        "hosts.txt",
    ),
    "mistake in a hostfile": (
        ["recipe=script", "script=train.py", "cluster=hostfile", "cluster.hostfile=hosts.txt"],
        2,
        "line 2 of",
    ),
    "hosts without their source": (
        ["recipe=script", "script=train.py", "cluster.hosts=[a,b]"],
        2,
        "cluster=hostfile",
    ),
    "unknown host": (
        [
            *("plan", "recipe=script", "script=train.py", "cluster=hostfile"),
            *("cluster.hosts=[gpu[1-2]]", "cluster.exclude=gqu2"),
        ],
        2,
        "did you mean `gpu2`",
    ),
    "pretended nodes": (["recipe=script", "script=train.py", "cluster=sim", "nodes=9"], 2, "plan"),
    "unknown engine": (["recipe=script", "script=train.py", "backend=horovd"], 2, "horovod"),
    "missing data": (
        ["recipe=bert_finetune", "data=jsonl", "data.train=no.jsonl", "data.test=no.jsonl"],
        4,
        "no.jsonl",
    ),
    "path as run id": (["recipe=script", "script=train.py", "run_id=../x"], 2, "run_id"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_a_sentence(name: str, person: Any) -> None:
    words, code, expected = MISTAKES[name]
    (person.cwd / "train.py").write_text("print('hello')\n")
    (person.cwd / "hosts.txt").write_text("gpu1 slots=2\ngpu2 slot=2\n")
    done = person.types(*words)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert expected in said
    assert "Traceback" not in said


def test_a_pinned_port_in_use_is_named(person: Any) -> None:
    (person.cwd / "train.py").write_text("print('hello')\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = person.types("recipe=script", "script=train.py", f"cluster.port={port}")
    assert done.returncode == 3
    assert str(port) in done.stderr


def test_a_run_of_another_recipe_is_not_continued(person: Any) -> None:
    (person.cwd / "train.py").write_text("print('hello')\n")
    assert person.types("recipe=script", "script=train.py", "run_id=mine").returncode == 0
    before = (person.run_folder("mine") / "config.yaml").read_bytes()
    done = person.types("recipe=bert_finetune", "run_id=mine")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "script" in done.stderr
    assert (person.run_folder("mine") / "config.yaml").read_bytes() == before
