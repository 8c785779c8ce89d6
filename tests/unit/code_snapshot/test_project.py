"""Which files count as the code of a program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from launcher.code_snapshot import filters, project
from launcher.code_snapshot.project import Project, imports_of, launcher_package, project_of
from launcher.code_snapshot.store import ProjectTree, publish
from launcher.code_snapshot.tree import Item
from launcher.errors import ConfigError
from launcher.specs import RunLayout
from launcher.storage.manifest import SnapshotManifest, write_manifest

pytestmark = pytest.mark.process

ODD_NAMES = ("a b.py", "quote's.py", 'double".py', "new\nline.py", "ünï.py", "-x.py", "$(x).py")


def copied(found: Project) -> set[str]:
    return {each.path for each in found.names if not each.is_link}


def linked(found: Project) -> set[str]:
    return {each.path for each in found.names if each.is_link}


def test_a_checkout_is_its_tracked_files_as_they_lie_there_and_the_untracked(
    checkout: Any, root: Path
) -> None:
    program = checkout.write("src/train.py", "1")
    checkout.write("gone.py")
    checkout.commit()
    (checkout.folder / "gone.py").unlink()
    checkout.write("new.py")
    found = project_of(program, storage_root=root)
    assert (found.folder, found.program) == (checkout.folder, "src/train.py")
    assert copied(found) == {"src/train.py", "new.py"}
    assert (len(found.commit), found.dirty) == (40, True)


def test_what_git_ignores_is_linked_but_for_caches_and_environments(
    checkout: Any, root: Path
) -> None:
    program = checkout.write("train.py")
    checkout.write(".gitignore", "data/\n*.so\n.venv\n__pycache__\n")
    for name in ("data/x.csv", "fast.so", ".venv/pyvenv.cfg", "__pycache__/train.pyc"):
        checkout.write(name)
    checkout.commit()
    found = project_of(program, storage_root=root)
    assert copied(found) == {"train.py", ".gitignore"}
    assert linked(found) == {"data", "fast.so"}
    assert not found.dirty


def test_names_may_hold_anything(checkout: Any, root: Path) -> None:
    names = {*ODD_NAMES, os.fsdecode(b"caf\xe9.py")}
    for name in names:
        checkout.write(name)
    checkout.commit()
    for name in sorted(names):
        found = project_of(checkout.folder / name, storage_root=root)
        assert (copied(found), found.program) == (names, name)


def test_the_storage_root_never_belongs_to_a_project(checkout: Any, tmp_path: Path) -> None:
    program = checkout.write("train.py")
    checkout.write("outputs/runs/r1/config.yaml")
    assert copied(project_of(program, storage_root=checkout.folder / "outputs")) == {"train.py"}
    (tmp_path / "plain" / "outputs").mkdir(parents=True)
    (tmp_path / "plain" / "outputs" / "x.py").touch()
    plain = tmp_path / "plain" / "train.py"
    plain.touch()
    assert copied(project_of(plain, storage_root=plain.parent / "outputs")) == {"train.py"}


def test_submodules_and_checkouts_inside_belong_to_it(
    checkout: Any, root: Path, tmp_path: Path
) -> None:
    library = type(checkout)(tmp_path / "library")
    library.write("lib.py")
    library.commit()
    program = checkout.write("train.py")
    checkout.commit()
    checkout.git("submodule", "add", str(library.folder), "libs/library")
    checkout.git("clone", str(library.folder), str(checkout.folder / "other"))
    found = project_of(program, storage_root=root)
    assert copied(found) == {"train.py", ".gitmodules", "libs/library/lib.py", "other/lib.py"}


def test_an_ignored_program_is_its_own_folder(checkout: Any, root: Path) -> None:
    checkout.write(".gitignore", "scratch\n")
    checkout.write("other.py")
    program = checkout.write("scratch/try.py")
    checkout.write("scratch/more.py")
    found = project_of(program, storage_root=root)
    assert (found.folder, copied(found)) == (program.parent, {"try.py", "more.py"})


def test_a_program_keeps_the_name_of_its_link_in_the_project(checkout: Any, root: Path) -> None:
    checkout.write("tools/tool.py")
    (checkout.folder / "train-vae.py").symlink_to("tools/tool.py")
    before = project_of(checkout.folder / "train-vae.py", storage_root=root)
    checkout.commit()
    after = project_of(checkout.folder / "train-vae.py", storage_root=root)
    assert before.program == after.program == "train-vae.py"


def test_a_linked_program_is_the_one_it_leads_to(checkout: Any, root: Path, tmp_path: Path) -> None:
    program = checkout.write("train.py")
    link = tmp_path / "link.py"
    link.symlink_to(program)
    assert project_of(link, storage_root=root).folder == checkout.folder


def test_a_checkout_of_another_user_is_still_one(checkout: Any, root: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root may give files away")
    program = checkout.write("train.py")
    os.chown(checkout.folder, 12345, 12345)
    os.chown(checkout.folder / ".git", 12345, 12345)
    assert project_of(program, storage_root=root).folder == checkout.folder


def test_the_variables_of_a_git_hook_lead_nobody_astray(
    checkout: Any, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    program = checkout.write("train.py")
    assert project_of(program, storage_root=root).folder == checkout.folder


def test_without_git_it_is_the_folder_with_large_and_hidden_files_linked(
    tmp_path: Path, root: Path
) -> None:
    folder = tmp_path / "plain"
    for name in ("train.py", "pkg/a.py", ".env", ".cache/x", "env/pyvenv.cfg", "env/bin/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "weights.bin").write_bytes(bytes(project.DATA_BYTES + 1))
    (folder / "other" / ".git").mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    found = project_of(folder / "train.py", storage_root=root)
    assert copied(found) == {"train.py", "pkg/a.py"}
    assert linked(found) == {".env", "weights.bin", "other"}
    assert (found.commit, found.dirty) == ("", False)


def test_too_much_is_refused_naming_what_is_large(
    checkout: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "LIMIT_BYTES", 3_000_000)
    program = checkout.write("train.py")
    checkout.write("model/weights.bin", "x" * 2_500_000)
    for number in range(4):
        checkout.write(f"texts/{number}.txt", "x" * 200_000)
    with pytest.raises(ConfigError, match=r"too large to be copied: more than 3\.0 MB") as caught:
        project_of(program, storage_root=root)
    assert "2.5 MB  model/weights.bin\n" in caught.value.context
    assert "800 kB  texts/ (4 files)" in caught.value.context
    assert "code=shared" in caught.value.hint


def test_too_many_files_are_refused_at_once(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "LIMIT_FILES", 20)
    (tmp_path / "images").mkdir()
    for number in range(30):
        (tmp_path / "images" / f"{number}.png").touch()
    (tmp_path / "train.py").touch()
    with pytest.raises(ConfigError, match="more than 20 files") as caught:
        project_of(tmp_path / "train.py", storage_root=root)
    assert "images/" in caught.value.context


def test_the_file_that_the_command_prints_to_is_no_code(tmp_path: Path, root: Path) -> None:
    (tmp_path / "train.py").touch()
    ask = (
        "import sys; from pathlib import Path;"
        "from launcher.code_snapshot.project import project_of;"
        "found = project_of(Path('train.py').absolute(), storage_root=Path(sys.argv[1]));"
        "print(*(each.path for each in found.names if not each.is_link))"
    )
    with (tmp_path / "run.log").open("w") as log:
        subprocess.run([sys.executable, "-c", ask, root], cwd=tmp_path, stdout=log, check=True)
    assert (tmp_path / "run.log").read_text() == "train.py\n"


def test_our_own_package_is_whole() -> None:
    found = launcher_package()
    expected = {"__init__.py", "__main__.py", "runtime/shim.py"}
    assert {f"launcher/{name}" for name in expected} <= copied(found)
    assert not [name for name in copied(found) if name.endswith(".pyc")]
    assert found.program == "launcher/__main__.py"


def test_our_package_brings_what_it_reads_and_nothing_else_of_the_checkout() -> None:
    found = copied(launcher_package())
    assert {"conf/config.yaml", "recipes/bert_finetune/train.py"} <= found
    assert {name.partition("/")[0] for name in found} == {"launcher", "conf", "recipes"}


def test_a_recipe_of_ours_takes_only_the_recipes_along(root: Path) -> None:
    recipes = launcher_package().folder / "recipes"
    found = project_of(recipes / "bert_finetune" / "train.py", storage_root=root)
    assert (found.folder, found.program) == (recipes, "bert_finetune/train.py")


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def freeze(program: Path, root: Path) -> Path:
    """Do what a start of a run does; return the copy."""
    source = ProjectTree.of(project_of(program, storage_root=root))
    publish(source, root)
    return root / source.folder_name / source.tree.name


def keep_code(root: Path) -> None:
    freeze(write(root.parent.parent / "elsewhere" / "train.py"), root)


def keep_run(root: Path) -> None:
    layout = RunLayout.of(root, "r1")
    write(layout.plan, "{}")
    write(layout.attempt(1).plan, "{}")


def keep_snapshot(root: Path) -> None:
    folder = write(root / "staged" / "model-0a1b" / "config.json").parent
    write_manifest(
        folder, SnapshotManifest(name="model", key="0a1b", uri="file:///m", at=0.0, files=())
    )


def names(program: Path, root: Path) -> set[str]:
    return {each.path for each in project_of(program, storage_root=root).names}


KEEPERS = (keep_code, keep_run, keep_snapshot)


@pytest.fixture(params=["git", "no git"])
def program(request: pytest.FixtureRequest, checkout: Any, tmp_path: Path) -> Path:
    """The program of a project of each kind."""
    folder = checkout.folder if request.param == "git" else tmp_path / "plain" / "my-project"
    return write(folder / "train.py", "x = 1\n")


def test_roots_that_take_turns_do_not_grow(program: Path) -> None:
    project = program.parent
    copies = set()
    for _ in range(3):
        for name in ("a", "b", "deep/er/c"):
            root = project / name
            copy = freeze(program, root)
            keep_run(root)
            copies.add(copy)
            assert [path.name for path in copy.rglob("*")] == ["train.py"]
    assert len(copies) == 3  # one for each root: the code stayed the same


@pytest.mark.parametrize("keep", KEEPERS)
def test_each_thing_that_we_keep_tells_a_root(
    program: Path, root: Path, keep: Callable[[Path], None]
) -> None:
    other = program.parent / "old"
    write(other / "exported.py")
    assert names(program, root) == {"train.py", "old/exported.py"}
    keep(other)
    assert names(program, root) == {"train.py"}


def test_a_root_that_git_ignores_is_not_even_linked(checkout: Any, root: Path) -> None:
    program = checkout.write("train.py")
    checkout.write(".gitignore", "/old\n*.csv\n")
    checkout.write("new/data.csv")
    for name in ("old", "new"):
        keep_run(checkout.folder / name)
    assert names(program, root) == {"train.py", ".gitignore"}


def test_a_folder_of_the_user_is_code_by_whatever_name(program: Path, root: Path) -> None:
    own = {
        "train.py",
        "code/model.py",
        "code/capsule.json",
        "code/vision/capsule.json",
        "runs/plan.json",
        "runs/sweep/plan.json",
        "runs/tb/attempts/0001/events.out",
        "staged/rows/rows.txt",
    }
    for name in own - {"train.py"}:
        write(program.parent / name)
    assert names(program, root) == own


@pytest.mark.parametrize("keep", KEEPERS)
@pytest.mark.parametrize("in_use", [True, False])
def test_a_root_around_the_program_has_code_in_it(
    program: Path, root: Path, keep: Callable[[Path], None], in_use: bool
) -> None:
    project = program.parent
    write(project / "code" / "model.py")
    keep(project)
    found = names(program, project if in_use else root)
    assert found == {"train.py", "code/model.py"}


def test_a_root_in_use_is_known_by_a_name_with_links(program: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(program.parent)
    write(program.parent / "outputs" / "x.py")
    assert names(program, tmp_path / "link" / "outputs") == {"train.py"}


def items(*paths: str) -> list[Item]:
    return [Item(path=path, sha256="x") for path in paths]


def test_only_folders_of_the_project_that_were_copied_count(tmp_path: Path) -> None:
    path = [str(tmp_path / "src"), str(tmp_path / ".venv/lib"), "/usr/lib", "", str(tmp_path)]
    found = imports_of(tmp_path, items("src/pkg/a.py"), path=path, modules={})
    assert found == ("src", ".")


def test_packages_in_editable_mode_are_found(tmp_path: Path) -> None:
    finder = ModuleType("__editable___pkg_finder")
    finder.MAPPING = {"pkg": str(tmp_path / "lib" / "pkg")}  # type: ignore[attr-defined]
    found = imports_of(tmp_path, items("lib/pkg/a.py"), path=[], modules={finder.__name__: finder})
    assert found == ("lib",)
