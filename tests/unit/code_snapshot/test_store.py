"""Copies are published whole, once per content."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from launcher.code_snapshot import store
from launcher.code_snapshot.project import project_of
from launcher.code_snapshot.store import ProjectTree, publish
from launcher.errors import StagingError

pytestmark = pytest.mark.process


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "p" / "train.py"
    path.parent.mkdir()
    path.write_text("x = 1\n")
    return path


def look(program: Path, root: Path) -> ProjectTree:
    return ProjectTree.of(project_of(program, storage_root=root))


def folders(root: Path) -> list[Path]:
    return sorted((root / "code").iterdir())


def test_the_same_content_is_copied_once(program: Path, root: Path) -> None:
    first = look(program, root)
    publish(first, root)
    (folder,) = folders(root)
    assert (folder / "p" / "train.py").read_text() == "x = 1\n"
    assert folder == root / first.folder_name
    before = (folder / "p" / "train.py").stat().st_ino
    publish(look(program, root), root)
    assert (folder / "p" / "train.py").stat().st_ino == before
    program.write_text("x = 2\n")
    publish(look(program, root), root)
    assert len(folders(root)) == 2


def test_names_may_hold_anything(program: Path, root: Path) -> None:
    for name in ("a b.py", "new\nline.py", "ünï.py", os.fsdecode(b"caf\xe9.py")):
        (program.parent / name).touch()
    source = look(program, root)
    publish(source, root)
    assert len(store.require_unchanged(root / source.folder_name).items) == 5


def test_many_at_once_publish_one(program: Path, root: Path) -> None:
    source = look(program, root)
    with ThreadPoolExecutor(8) as pool:
        digests = {each.digest for each in pool.map(lambda _: publish(source, root), range(16))}
    assert digests == {source.tree.digest}
    assert [folder.name for folder in folders(root)] == [source.tree.digest[:16]]
    assert store.require_unchanged(folders(root)[0]).digest == source.tree.digest


def test_an_edit_between_look_and_copy_names_the_copy_by_its_content(
    program: Path, root: Path
) -> None:
    before = look(program, root)
    program.write_text("x = 2\n")
    published = publish(before, root)
    assert published.digest == look(program, root).tree.digest != before.tree.digest
    assert [folder.name for folder in folders(root)] == [published.digest[:16]]


def test_a_beginning_does_not_count_and_is_swept_when_it_is_old(program: Path, root: Path) -> None:
    for name, age_s in ((".old.x", 2 * 24 * 3600), (".young.x", 0)):
        (root / "code" / name).mkdir(parents=True)
        os.utime(root / "code" / name, (time.time() - age_s,) * 2)
    source = look(program, root)
    (root / source.folder_name / "p").mkdir(parents=True)  # without its marker
    with pytest.raises(StagingError):
        publish(source, root)
    assert {folder.name for folder in folders(root)} == {".young.x", source.tree.digest[:16]}


def test_a_changed_copy_is_refused_naming_the_file(program: Path, root: Path) -> None:
    source = look(program, root)
    publish(source, root)
    copy = root / source.folder_name / "p" / "train.py"
    copy.chmod(0o644)
    copy.write_text("x = 3\n")
    with pytest.raises(StagingError, match=r"was modified: `train\.py`"):
        publish(source, root)
    copy.unlink()
    with pytest.raises(StagingError, match=r"was modified: `train\.py`"):
        store.require_unchanged(root / source.folder_name)


def test_files_that_ranks_add_to_a_copy_do_not_matter(program: Path, root: Path) -> None:
    source = look(program, root)
    publish(source, root)
    (root / source.folder_name / "p" / "__pycache__").mkdir()
    assert publish(source, root) == source.tree


def test_a_missing_copy_is_an_error(root: Path) -> None:
    with pytest.raises(StagingError, match="is missing") as caught:
        store.require_unchanged(root / "code" / "0123")
    assert "code=new" in caught.value.hint


def test_a_root_without_write_access_is_an_error(program: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StagingError, match="cannot copy"):
        publish(look(program, tmp_path / "file"), tmp_path / "file")
