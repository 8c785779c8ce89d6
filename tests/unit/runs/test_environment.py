from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.runs import environment
from launcher.specs import CodeSnapshot, RunLayout

pytestmark = pytest.mark.process


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@y")
        subprocess.run(
            ["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True
        )

    git("init", "-b", "trunk")
    (folder / "a.py").write_text("x = 1\n")
    git("add", "a.py")
    git("commit", "-m", "first")
    return folder


def test_commit_diff_and_untracked_names_are_recorded(repository: Path) -> None:
    clean = environment.describe(repository)["git"]
    assert len(clean["commit"]) == 40
    assert (clean["branch"], clean["dirty"], clean["diff"]) == ("trunk", False, "")
    (repository / "a.py").write_text('x = 2\nAPI_KEY = "s3cr3t-value"\n')
    (repository / "new.py").write_text("")
    changed = environment.describe(repository)["git"]
    assert changed["dirty"]
    assert "+x = 2" in changed["diff"]
    assert "s3cr3t" not in changed["diff"]
    assert changed["untracked"] == ["new.py"]


def test_outside_of_a_repository_there_is_no_git(tmp_path: Path) -> None:
    assert environment.describe(tmp_path)["git"] == {}


def test_versions_are_known_without_importing_anything_heavy(tmp_path: Path) -> None:
    found = environment.describe(tmp_path)
    assert found["packages"]["torch"]
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    code = (
        "import launcher.runs.environment as e, pathlib, sys;"
        "e.describe(pathlib.Path('/')); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_secrets_among_the_variables_are_masked(tmp_path: Path) -> None:
    variables = {
        "HF_TOKEN": "hf_x",
        "NCCL_DEBUG": "INFO",
        "HOME": "/me",
        "HF_ENDPOINT": "h://u:pw@host/x",
    }
    found = environment.describe(tmp_path, variables)["variables"]
    assert found == {"HF_TOKEN": "***", "NCCL_DEBUG": "INFO", "HF_ENDPOINT": "h://***@host/x"}


def frozen(project: Path, digest: str = "1") -> CodeSnapshot:
    return CodeSnapshot(
        digest=digest, place="code/1/repo", program="a.py", project=str(project), cwd="/"
    )


def test_what_git_said_when_the_code_was_frozen_stays(tmp_path: Path, repository: Path) -> None:
    layout = RunLayout(tmp_path)

    def written(digest: str) -> str:
        environment.write(layout, code=frozen(repository, digest))
        found = json.loads(layout.environment.read_text())
        assert found["code"]["digest"] == digest
        return str(found["git"]["diff"])

    assert written("1") == ""
    (repository / "a.py").write_text("x = 2\n")
    assert written("1") == ""
    assert "+x = 2" in written("2")


def test_the_folder_is_that_of_the_project(tmp_path: Path, repository: Path) -> None:
    layout = RunLayout(tmp_path)
    environment.write(layout, code=frozen(repository))
    assert json.loads(layout.environment.read_text())["folder"] == str(repository)


def test_what_the_nodes_are_made_of_is_kept_and_what_differs_is_listed(tmp_path: Path) -> None:
    layout = RunLayout.of(tmp_path, "r1")
    layout.path.mkdir(parents=True)
    one = {"host": "a", "python": "3.11.7", "packages": {"torch": "2.13.0", "numpy": "2.0"}}
    other = {"host": "b", "python": "3.11.7", "packages": {"torch": "2.12.0", "numpy": "2.0"}}
    environment.write(layout, nodes={"gpu1": one, "gpu2": other})
    found = json.loads(layout.environment.read_text())
    assert found["nodes"] == {"gpu1": one, "gpu2": other}
    assert found["differences"] == {"torch": {"gpu1": "2.13.0", "gpu2": "2.12.0"}}
