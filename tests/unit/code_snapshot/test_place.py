"""Copies are published whole, once per content."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from launcher.code_snapshot import place
from launcher.code_snapshot.place import Capsule, publish
from launcher.code_snapshot.project import project_of
from launcher.errors import StagingError

pytestmark = pytest.mark.process


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "p" / "train.py"
    path.parent.mkdir()
    path.write_text("x = 1\n")
    return path


def look(program: Path, root: Path) -> Capsule:
    return Capsule.of(project_of(program, storage_root=root))


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
    capsule = look(program, root)
    publish(capsule, root)
    assert len(place.require_whole(root / capsule.folder_name).items) == 5


def test_many_at_once_publish_one(program: Path, root: Path) -> None:
    capsule = look(program, root)
    with ThreadPoolExecutor(8) as pool:
        digests = {each.digest for each in pool.map(lambda _: publish(capsule, root), range(16))}
    assert digests == {capsule.tree.digest}
    assert [folder.name for folder in folders(root)] == [capsule.tree.digest[:16]]
    assert place.require_whole(folders(root)[0]).digest == capsule.tree.digest


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
    capsule = look(program, root)
    (root / capsule.folder_name / "p").mkdir(parents=True)  # without its marker
    with pytest.raises(StagingError):
        publish(capsule, root)
    assert {folder.name for folder in folders(root)} == {".young.x", capsule.tree.digest[:16]}


def test_a_changed_copy_is_refused_naming_the_file(program: Path, root: Path) -> None:
    capsule = look(program, root)
    publish(capsule, root)
    copy = root / capsule.folder_name / "p" / "train.py"
    copy.chmod(0o644)
    copy.write_text("x = 3\n")
    with pytest.raises(StagingError, match=r"was changed: `train\.py`"):
        publish(capsule, root)
    copy.unlink()
    with pytest.raises(StagingError, match=r"was changed: `train\.py`"):
        place.require_whole(root / capsule.folder_name)


def test_files_that_ranks_add_to_a_copy_do_not_matter(program: Path, root: Path) -> None:
    capsule = look(program, root)
    publish(capsule, root)
    (root / capsule.folder_name / "p" / "__pycache__").mkdir()
    assert publish(capsule, root) == capsule.tree


def test_a_copy_that_is_gone_is_told(root: Path) -> None:
    with pytest.raises(StagingError, match="is gone") as caught:
        place.require_whole(root / "code" / "0123")
    assert "code=new" in caught.value.hint


def test_a_root_that_cannot_be_written_is_told(program: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StagingError, match="cannot be copied"):
        publish(look(program, tmp_path / "file"), tmp_path / "file")
