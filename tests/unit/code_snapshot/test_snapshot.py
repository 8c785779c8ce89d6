"""A run keeps the code of its first start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.code_snapshot import RunCode
from launcher.code_snapshot.project import launcher_package
from launcher.errors import StagingError
from launcher.programs import FoundModule
from launcher.specs import RunLayout

pytestmark = pytest.mark.process


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "p" / "train.py"
    path.parent.mkdir()
    path.write_text("x = 1\n")
    return path


def code_of(program: Path, root: Path, *, anew: bool = False, cwd: Path | None = None) -> RunCode:
    layout = RunLayout.of(root, "r1")
    layout.path.mkdir(parents=True, exist_ok=True)
    found = RunCode.of(
        program, layout=layout, storage_root=root, cwd=cwd or program.parent, anew=anew
    )
    assert found is not None
    return found


def started(program: Path, root: Path, *, anew: bool = False) -> RunCode:
    code = code_of(program, root, anew=anew).freeze()
    code.record()
    return code


def test_nothing_is_written_before_it_is_frozen(program: Path, root: Path) -> None:
    code = code_of(program, root)
    assert not (root / "code").exists()
    assert not code.program.exists()
    frozen = code.freeze()
    assert frozen.program == code.program
    assert frozen.program.read_text() == "x = 1\n"
    assert (frozen.packages / "launcher" / "__init__.py").exists()


def test_a_missing_program_is_left_to_preflight(tmp_path: Path, root: Path) -> None:
    layout = RunLayout.of(root, "r1")
    missing = tmp_path / "missing.py"
    assert RunCode.of(missing, layout=layout, storage_root=root, cwd=tmp_path, anew=False) is None


def test_later_starts_run_the_old_code_and_say_what_changed(program: Path, root: Path) -> None:
    first = started(program, root)
    assert code_of(program, root).notes == ()
    program.write_text("x = 2\n")
    (program.parent / "helper.py").touch()
    again = code_of(program, root)
    assert again.snapshot == first.snapshot
    assert again.freeze().program.read_text() == "x = 1\n"
    (note,) = again.notes
    assert note.startswith("2 files differ")
    assert "helper.py, train.py; add code=new" in note


def test_new_code_is_taken_when_asked_for_and_kept_from_then_on(program: Path, root: Path) -> None:
    started(program, root)
    program.write_text("x = 2\n")
    renewed = started(program, root, anew=True)
    assert renewed.program.read_text() == "x = 2\n"
    assert code_of(program, root).snapshot == renewed.snapshot


def test_a_start_that_never_came_to_anything_binds_nobody(program: Path, root: Path) -> None:
    code_of(program, root).freeze()
    program.write_text("x = 2\n")
    assert started(program, root).program.read_text() == "x = 2\n"


def test_the_project_may_be_gone_and_the_storage_elsewhere(
    program: Path, root: Path, tmp_path: Path
) -> None:
    started(program, root)
    program.unlink()
    moved = tmp_path / "moved"
    root.rename(moved)
    code = code_of(program, moved).freeze()
    assert code.notes == ()
    assert code.program.is_relative_to(moved)
    assert code.program.read_text() == "x = 1\n"


def test_a_copy_that_is_gone_is_an_error(program: Path, root: Path) -> None:
    code = started(program, root)
    (code.folder.parent / "capsule.json").unlink()
    with pytest.raises(StagingError, match="is missing"):
        code_of(program, root).freeze()


def test_ranks_import_copies_first_and_stand_where_the_person_stood(
    program: Path, root: Path
) -> None:
    code = code_of(program, root, cwd=program.parent / "exp")
    found = code.variables({"A": "1"}, inherited="/mine")
    assert found["PYTHONPATH"] == f"{code.packages}:/mine"
    assert (found["A"], found["LAUNCHER_CWD"]) == ("1", str(program.parent / "exp"))
    assert found["LAUNCHER_FROZEN_CWD"] == str(code.folder / "exp")
    assert code.variables({"PYTHONPATH": "/own"}, "/mine")["PYTHONPATH"] == f"{code.packages}:/own"
    assert code.variables({}, "")["PYTHONPATH"] == str(code.packages)


def test_a_person_who_stood_elsewhere_has_the_copy_itself(program: Path, root: Path) -> None:
    code = code_of(program, root, cwd=Path("/"))
    assert code.variables({}, "")["LAUNCHER_FROZEN_CWD"] == str(code.folder)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("p", "COPY"),
        ("p/lib", "COPY/lib"),
        ("p/lib/../lib", "COPY/lib"),
        ("link", "COPY"),
        ("p/.venv", "p/.venv"),  # never copied
        ("p/none", "p/none"),
        ("elsewhere", "elsewhere"),
        ("p-too", "p-too"),
    ],
)
def test_folders_of_the_project_on_pythonpath_are_replaced_by_their_copies(
    program: Path, root: Path, tmp_path: Path, entry: str, expected: str, *, frozen: bool
) -> None:
    for name in ("p/lib/pkg", "p/.venv", "elsewhere", "p-too"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "m.py").touch()
    (tmp_path / "link").symlink_to("p")
    code = started(program, root) if frozen else code_of(program, root)
    wanted = expected.replace("COPY", str(code.folder)) if "COPY" in expected else None
    given = f"/first:{tmp_path}/{entry}"
    path = code.variables({}, given)["PYTHONPATH"].split(":")
    assert path[1:] == ["/first", wanted or f"{tmp_path}/{expected}"]
    assert code.variables({"PYTHONPATH": given}, "/other")["PYTHONPATH"].split(":") == path


def test_only_a_users_program_may_have_our_name(program: Path, root: Path) -> None:
    code = code_of(program, root)
    assert code.variables({}, "")["LAUNCHER_PACKAGES"] == str(code.packages)
    recipe = launcher_package().folder / "recipes" / "bert_finetune" / "train.py"
    assert "LAUNCHER_PACKAGES" not in code_of(recipe, root).variables({}, "")


# --- modules
def module_of(file: Path | None, root: Path | None) -> FoundModule:
    return FoundModule(name="pkg.train", file=file, root=root)


def code_of_module(found: FoundModule, root: Path, cwd: Path) -> RunCode:
    layout = RunLayout.of(root, "r1")
    code = RunCode.of(found, layout=layout, storage_root=root, cwd=cwd, anew=False)
    assert code is not None
    code = code.freeze()
    code.record()
    return code


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder that contains a package, without git."""
    folder = tmp_path / "here"
    for name in ("pkg/train.py", "src/pkg/train.py", "beside.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x = 1\n")
    return folder


def test_the_project_of_a_module_is_the_folder_that_python_m_imports_from(
    package: Path, root: Path
) -> None:
    code = code_of_module(module_of(package / "pkg" / "train.py", package), root, package)
    assert code.snapshot.program == "pkg/train.py"
    assert (code.folder / "beside.py").exists()
    found = code.variables({}, "", is_module=True)
    assert found["LAUNCHER_IMPORT_FOLDER"] == str(code.folder)
    assert "LAUNCHER_IMPORT_FOLDER" not in code.variables({}, "")


def test_a_src_folder_is_imported_from_its_copy_after_the_current_folder(
    package: Path, root: Path
) -> None:
    src = package / "src"
    code = code_of_module(module_of(src / "pkg" / "train.py", src), root, package)
    assert (code.snapshot.program, code.snapshot.imports) == ("src/pkg/train.py", ("src",))
    found = code.variables({}, str(src), is_module=True)
    assert found["PYTHONPATH"].split(":")[1:] == [str(code.folder / "src")]
    assert found["LAUNCHER_IMPORT_FOLDER"] == str(code.folder)


def test_a_module_from_elsewhere_leaves_the_current_folder_as_it_is(
    package: Path, root: Path, tmp_path: Path
) -> None:
    code = code_of_module(module_of(package / "pkg" / "train.py", package), root, tmp_path / "x")
    assert code.snapshot.project == str(package)
    found = code.variables({}, "", is_module=True)
    assert "LAUNCHER_IMPORT_FOLDER" not in found
    assert found["PYTHONPATH"].split(":")[1:] == [str(code.folder)]


def test_the_code_of_an_installed_module_is_not_copied(package: Path, root: Path) -> None:
    for found in (module_of(None, None), module_of(Path("/v/site-packages/pkg/train.py"), None)):
        code = code_of_module(found, root, package)
        assert code.snapshot.program == ""
        assert list(code.folder.rglob("*")) == []
        assert "LAUNCHER_IMPORT_FOLDER" not in code.variables({}, "", is_module=True)
        (note,) = code.notes
        assert "installed in the environment" in note


def test_a_module_in_a_checkout_is_copied_with_all_of_it(checkout: Any, root: Path) -> None:
    file = checkout.write("exp/pkg/train.py", "x = 1\n")
    checkout.write("other/data.py")
    checkout.commit()
    here = checkout.folder / "exp"
    code = code_of_module(module_of(file, here), root, here)
    assert code.snapshot.program == "exp/pkg/train.py"
    assert (code.folder / "other" / "data.py").exists()
    found = code.variables({}, "", is_module=True)
    assert found["LAUNCHER_IMPORT_FOLDER"] == str(code.folder / "exp")


def test_edits_beside_a_module_are_noted(package: Path, root: Path) -> None:
    found = module_of(package / "pkg" / "train.py", package)
    code_of_module(found, root, package)
    assert code_of_module(found, root, package).notes == ()
    (package / "beside.py").write_text("x = 2\n")
    (note,) = code_of_module(found, root, package).notes
    assert note.startswith("1 file differs from the code snapshot that this run uses: beside.py")
