"""What a user exported means the same in the ranks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

SHOW = "import json, os, sys\nprint(json.dumps(dict(os.environ)))\n"
OUTER = {
    "RANK": "7", "WORLD_SIZE": "8", "LOCAL_RANK": "3", "GROUP_RANK": "1", "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "10.9.9.9", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "outer",
    "TORCHELASTIC_ERROR_FILE": "/nonexistent/error.json", "OMPI_COMM_WORLD_RANK": "7",
    "OMPI_COMM_WORLD_SIZE": "8", "PMI_RANK": "7", "PMI_SIZE": "8", "HOROVOD_RANK": "7",
    "HOROVOD_SIZE": "8", "LAUNCHER_LOGICAL_SHARDS": "3", "LAUNCHER_NODE_NAME": "outer",
}  # fmt: skip


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def log_of(person: Any, *words: str, folder: Path | None = None) -> str:
    """Run the program of the words and return what rank 0 printed."""
    done = subprocess.run(
        [sys.executable, "-m", "launcher", *words],
        cwd=folder or person.cwd,
        env=person.env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (log,) = (folder or person.cwd).rglob("node00-rank0000.log")
    return log.read_text()


@pytest.mark.parametrize("in_git", [True, False], ids=["git", "no git"])
@pytest.mark.parametrize("where", ["exported", "env."])
def test_relative_entries_of_pythonpath_mean_the_users_folder(
    person: Any, where: str, *, in_git: bool
) -> None:
    project = person.cwd / "project"
    write(
        project,
        {
            "tools/train.py": "import here, inside, beside\nprint(here.A, inside.A, beside.A)\n",
            "here.py": "A = __file__",
            "src/inside.py": "A = __file__",
        },
    )
    write(person.cwd, {"lib/beside.py": "A = __file__"})
    if in_git:
        subprocess.run(["git", "init", "-q", "."], cwd=project, check=True)
    value = ":src:../lib"
    words = ["recipe=script", "script=tools/train.py"]
    if where == "exported":
        person.env["PYTHONPATH"] = value
    else:
        words.append(f"env.PYTHONPATH={value}")
    here, inside, beside = log_of(person, *words, folder=project).split()
    # The snapshot is that of the checkout, or of the program's folder.
    at = project / "outputs" / "code" if in_git else project
    assert here.startswith(f"{at}/"), here
    assert inside.startswith(f"{at}/"), inside
    assert beside == f"{person.cwd}/lib/beside.py"


def test_a_run_that_is_resumed_elsewhere_keeps_the_folders_of_its_configuration(
    person: Any,
) -> None:
    write(
        person.cwd,
        {
            "train.py": "import os, pathlib, beside\n"
            "mark = pathlib.Path(os.environ['LAUNCHER_RUN_DIR'], 'mark')\n"
            "again = mark.exists()\n"
            "mark.touch()\n"
            "print(beside.A)\n"
            "raise SystemExit(0 if again else 3)\n",
        },
    )
    write(person.cwd, {"other/x.py": ""})
    write(person.cwd.parent, {"lib/beside.py": "A = 'found'"})
    first = person.types(
        "recipe=script", "script=train.py", "env.PYTHONPATH=../lib", "run_id=elsewhere",
        f"storage.root={person.cwd}/outputs",
    )  # fmt: skip
    assert first.returncode == 5
    person.cwd = person.cwd / "other"
    again = person.types("resume", "elsewhere", f"storage.root={person.cwd.parent}/outputs")
    assert again.returncode == 0, again.stdout + again.stderr


def test_staging_programs_find_relative_entries_of_pythonpath(person: Any) -> None:
    write(
        person.cwd,
        {
            "src/inside.py": "A = 1",
            "make.py": "import inside, pathlib, sys\n"
            "pathlib.Path(sys.argv[sys.argv.index('--out') + 1], 'x').write_text('x')\n",
            "train.py": "print('done')",
        },
    )
    person.env["PYTHONPATH"] = "src"
    data = f"data.source=build://{person.cwd}/make.py"
    text = log_of(person, "recipe=script", "script=train.py", data)
    assert text == "done\n"


def test_ranks_get_what_the_user_exported_and_their_own_place(person: Any) -> None:
    write(person.cwd, {"train.py": SHOW})
    mine = {
        "OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "ACTIVE", "TOKENIZERS_PARALLELISM": "true",
        "GLOO_SOCKET_IFNAME": "lo", "PYTHONUNBUFFERED": "", "ACCELERATE_MIXED_PRECISION": "bf16",
    }  # fmt: skip
    person.env.update({**OUTER, **mine})
    found = json.loads(log_of(person, "recipe=script", "script=train.py"))
    assert {name: found[name] for name in mine} == mine
    place = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "GROUP_RANK": "0"}
    assert {name: found[name] for name in place} == place
    assert found["MASTER_ADDR"] == "127.0.0.1"
    assert found["TORCHELASTIC_RUN_ID"] == found["LAUNCHER_RUN_ID"]
    error_file = f"{found['LAUNCHER_RUN_DIR']}/attempts/0001/ranks/error-0000.json"
    assert found["TORCHELASTIC_ERROR_FILE"] == error_file
    ours = {*place, "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"}
    left = OUTER.keys() & found.keys() - ours - {"TORCHELASTIC_ERROR_FILE", "LAUNCHER_NODE_NAME"}
    assert left == set()
    assert found["LAUNCHER_NODE_NAME"] == "local0"


def test_torchs_record_writes_the_error_file_of_the_run(person: Any) -> None:
    write(
        person.cwd,
        {
            "train.py": "from torch.distributed.elastic.multiprocessing.errors import record\n"
            "@record\ndef main():\n    raise ValueError('bad sample 17')\nmain()\n",
        },
    )
    done = person.types("recipe=script", "script=train.py", "run_id=record")
    assert done.returncode == 5
    (file,) = person.cwd.rglob("error-0000.json")
    assert "bad sample 17" in file.read_text()
    assert "ValueError: bad sample 17" in person.types("why", "record").stdout


def test_the_launcher_can_be_called_in_a_rank(person: Any) -> None:
    write(
        person.cwd,
        {
            "train.py": "import subprocess, sys\n"
            "words = ['plan', 'recipe=bert_finetune', 'run_id=inner', 'model=bert_tiny']\n"
            "subprocess.run([sys.executable, '-m', 'launcher', *words], check=True)\n",
        },
    )
    text = log_of(person, "recipe=script", "script=train.py")
    assert "run:         inner (attempt 1)" in text
    assert "export LAUNCHER_RUN_ID=inner" in text


def test_a_run_beside_modules_with_our_names_is_the_users(person: Any) -> None:
    write(
        person.cwd,
        {
            "train.py": "import random, logging, yaml, launcher, launcher.model\n"
            "print({each.A for each in (random, logging, yaml, launcher, launcher.model)})\n",
            "random.py": "A = 'mine'",
            "logging.py": "A = 'mine'",
            "yaml/__init__.py": "A = 'mine'",
            "launcher/__init__.py": "A = 'mine'",
            "launcher/model.py": "A = 'mine'",
        },
    )
    console = Path(sys.executable).parent / "launcher"
    done = subprocess.run(
        [console, "recipe=script", "script=train.py"],
        cwd=person.cwd,
        env={name: value for name, value in person.env.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (log,) = person.cwd.rglob("node00-rank0000.log")
    assert log.read_text() == "{'mine'}\n"
