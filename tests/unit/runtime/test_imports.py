"""What a program imports under the shim, compared with `python program.py`."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from launcher.runtime.imports import give_way
from launcher.specs import RankRecord, RankState, RunLayout, from_json

pytestmark = pytest.mark.process

SHOW = """
import sys  # nothing else: it would need the modules in question
found = {}
for name in sys.argv[1:]:
    try:
        __import__(name)
        found[name] = getattr(sys.modules[name], "MINE", "another")
    except ImportError:
        found[name] = "missing"
print(found)
"""
ALONE = ("-m", "launcher.runtime", "--")
AGENT = (
    "-m",
    "launcher.runtime.agent",
    "--rdzv-endpoint=127.0.0.1:0",
)  # has imported torch before the program
OURS = str(Path(__file__).parents[3])


def write(folder: Path, *modules: str) -> None:
    for name in modules:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("MINE = 'mine'\n")


def started(
    folder: Path, words: Sequence[str], names: Sequence[str], env: dict[str, str]
) -> dict[str, str]:
    """Run the program in `folder` and return where each module came from."""
    (folder / "train.py").write_text(SHOW)
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *words, str(folder / "train.py"), *names],
        cwd="/",
        env={**inherited, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = ast.literal_eval(done.stdout)
    return found


@pytest.mark.parametrize("launch", [ALONE, AGENT], ids=["alone", "agent"])
@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["random.py"], "random"),
        (["queue.py"], "queue"),
        (["logging.py"], "logging"),
        (["statistics.py"], "statistics"),
        (["types.py"], "types"),
        (["os.py"], "os"),  # the interpreter's, in both
        (["sys.py"], "sys"),
        (["encodings/__init__.py"], "encodings"),
        (["torch.py"], "torch"),
        (["numpy/__init__.py", "numpy/linalg.py"], "numpy.linalg"),
        (["packaging/__init__.py", "packaging/version.py"], "packaging.version"),
        (["json/extra.py"], "json.extra"),  # no package: the installed one wins
        (["launcher.py"], "launcher"),
        (["launcher/__init__.py", "launcher/model.py"], "launcher.model"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_modules_beside_the_program_are_found_as_without_us(
    tmp_path: Path, launch: Sequence[str], files: list[str], name: str
) -> None:
    write(tmp_path, *files)
    plain = started(tmp_path, (), [name], {})
    assert started(tmp_path, launch, [name], {}) == plain


def test_our_runtime_works_beside_a_module_of_every_name_that_it_uses(tmp_path: Path) -> None:
    """Heartbeats go on, and the end is recorded."""
    for name in sys.stdlib_module_names - {"time", "sys", "__main__"}:
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported by another one')\n")
    write(tmp_path, "torch.py", "numpy.py", "launcher/__init__.py", "random.py")
    (tmp_path / "train.py").write_text(
        "import launcher, random, time; time.sleep(2.2); print(random.MINE + launcher.MINE)\n"
    )
    done = subprocess.run(
        [sys.executable, *AGENT, str(tmp_path / "train.py")],
        cwd="/",
        env={**os.environ, "LAUNCHER_RUN_DIR": str(tmp_path / "run")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    layout = RunLayout(tmp_path / "run").attempt(1)
    assert done.returncode == 0, done.stderr + layout.rank_log(0, 0).read_text()
    assert layout.rank_log(0, 0).read_text() == "minemine\n"
    record = from_json(RankRecord, layout.rank_record(0).read_bytes())
    assert record.state is RankState.DONE
    assert record.heartbeat_at - record.started_at > 2


def copied(folder: Path, **env: str) -> dict[str, str]:
    """Return the variables of a plan that puts our package first."""
    (folder / "copy").mkdir()
    (folder / "copy" / "launcher").symlink_to(f"{OURS}/launcher")
    copy = str(folder / "copy")
    theirs = [env.pop("PYTHONPATH")] if "PYTHONPATH" in env else []
    return {"PYTHONPATH": os.pathsep.join([copy, *theirs]), "LAUNCHER_PACKAGES": copy, **env}


@pytest.mark.parametrize("launch", [ALONE, AGENT], ids=["alone", "agent"])
@pytest.mark.parametrize(
    "files", [["launcher.py"], ["launcher/__init__.py", "launcher/runtime/__init__.py"]]
)
@pytest.mark.parametrize("place", [".", "src"])
def test_a_package_of_the_project_with_our_name_wins(
    tmp_path: Path, launch: Sequence[str], files: list[str], place: str
) -> None:
    write(tmp_path / "user" / place, *files)
    env = copied(tmp_path, PYTHONPATH=str(tmp_path / "user" / "src"))
    names = ["launcher", "launcher.runtime"]
    found = started(tmp_path / "user", launch, names, env)
    assert found == {"launcher": "mine", "launcher.runtime": "mine" if files[1:] else "missing"}


def test_our_api_is_found_where_the_project_has_no_such_name(tmp_path: Path) -> None:
    (tmp_path / "user").mkdir()
    names = ["launcher.runtime", "launcher.checkpoint", "launcher.errors"]
    found = started(tmp_path / "user", ALONE, names, copied(tmp_path))
    assert found == dict.fromkeys(names, "another")


def test_a_plain_folder_with_our_name_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "user" / "launcher").mkdir(parents=True)
    variables = copied(tmp_path)
    monkeypatch.setattr(sys, "path", [variables["PYTHONPATH"]])  # nothing else is installed
    give_way(str(tmp_path / "user"), variables)
    assert sys.path == [str(tmp_path / "user"), str(tmp_path / "copy")]
    assert variables == {"PYTHONPATH": str(tmp_path / "copy")}
    assert "launcher" in sys.modules


def test_our_recipes_import_us_whatever_the_user_has(tmp_path: Path) -> None:
    write(tmp_path / "src", "launcher/__init__.py")
    env = copied(tmp_path, PYTHONPATH=str(tmp_path / "src"))
    del env["LAUNCHER_PACKAGES"]  # the plan of a recipe has none
    (tmp_path / "user").mkdir()
    assert started(tmp_path / "user", ALONE, ["launcher.runtime"], env) == {
        "launcher.runtime": "another"
    }


@pytest.mark.parametrize("mine", [True, False])
def test_children_of_the_program_find_the_same(tmp_path: Path, *, mine: bool) -> None:
    user = tmp_path / "user"
    write(user / "src", "launcher/__init__.py" if mine else "other.py")
    (user / "train.py").write_text(
        "import subprocess, sys\n"
        "code = 'import launcher; print(hasattr(launcher, \"MINE\"))'\n"
        "subprocess.run([sys.executable, '-c', code], check=True)\n"
    )
    env = {**os.environ, **copied(tmp_path, PYTHONPATH=str(user / "src"))}
    done = subprocess.run(
        [sys.executable, *ALONE, str(user / "train.py")],
        cwd="/",
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == f"{mine}\n", done.stderr
