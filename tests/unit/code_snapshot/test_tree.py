"""Names and contents as one value."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from launcher.code_snapshot import tree
from launcher.code_snapshot.tree import Listed
from launcher.errors import ConfigError


def names(*paths: str) -> list[Listed]:
    return [Listed(path=path) for path in paths]


def test_the_digest_depends_on_names_contents_and_modes_and_on_nothing_else(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text("x = 1\n")
    os.utime(tmp_path / "other" / "a.py", (1, 1))

    def digest(folder: str, *, name: str = "p") -> str:
        return tree.read(tmp_path / folder, names("a.py"), name=name).digest

    assert digest("one") == digest("other")
    assert digest("one") != digest("one", name="q")
    (tmp_path / "other" / "a.py").chmod(0o755)
    assert digest("one") != digest("other")
    (tmp_path / "other" / "a.py").chmod(0o644)
    (tmp_path / "other" / "a.py").write_text("x = 2\n")
    assert digest("one") != digest("other")


def test_copies_have_content_time_and_the_right_to_execute_but_cannot_be_edited(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "secret.yaml").write_text("x")
    (source / "secret.yaml").chmod(0o600)
    os.utime(source / "run.sh", (10, 10))
    listed = names("run.sh", "secret.yaml")
    copies = tree.copy(source, listed, name="p", to=tmp_path / "copy")
    assert copies == tree.read(source, listed, name="p")
    copied = (tmp_path / "copy" / "run.sh").stat()
    assert (stat.S_IMODE(copied.st_mode), copied.st_mtime) == (0o555, 10)
    assert stat.S_IMODE((tmp_path / "copy" / "secret.yaml").stat().st_mode) == 0o400


@pytest.mark.parametrize(
    ("target", "leads_to"),
    [
        ("a.py", "copy"),  # beside it
        ("../p/a.py", "copy"),  # back into the project by its name
        ("{project}/a.py", "copy"),
        ("../outside.py", "outside"),
        ("/etc/hostname", "absolute"),
    ],
)
def test_links_lead_into_the_copy_or_out_to_the_same_place(
    tmp_path: Path, target: str, leads_to: str
) -> None:
    project, copy = tmp_path / "p", tmp_path / "elsewhere" / "deep" / "p"
    (project / "sub").mkdir(parents=True)
    (project / "a.py").touch()
    (project / "link.py").symlink_to(target.format(project=project))
    tree.copy(project, names("a.py", "link.py"), name="p", to=copy)
    expected = {"copy": copy / "a.py", "outside": tmp_path / "outside.py"}
    found = Path(os.path.normpath(copy / (copy / "link.py").readlink()))
    assert found == expected.get(leads_to, Path("/etc/hostname"))


def test_what_is_listed_as_a_link_leads_to_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "p" / "data").mkdir(parents=True)
    (tmp_path / "p" / "data" / "x").write_text("rows")
    listed = [Listed(path="data", is_link=True)]
    tree.copy(tmp_path / "p", listed, name="p", to=tmp_path / "copy")
    assert (tmp_path / "copy" / "data" / "x").read_text() == "rows"


def test_a_file_that_is_gone_meanwhile_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.py").touch()
    found = tree.copy(tmp_path, names("a.py", "gone.py"), name="p", to=tmp_path / "copy")
    assert [item.path for item in found.items] == ["a.py"]


def test_the_digest_of_a_copy_is_that_of_what_was_copied_while_a_file_grows(tmp_path: Path) -> None:
    log = tmp_path / "p" / "log.txt"
    log.parent.mkdir()
    log.touch()
    enough = threading.Event()

    def grow() -> None:
        with log.open("ab", buffering=0) as file:
            while not enough.is_set():
                file.write(b"line\n")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        found = tree.copy(log.parent, names("log.txt"), name="p", to=tmp_path / "copy")
    finally:
        enough.set()
        writer.join()
    assert found == tree.read(tmp_path / "copy", names("log.txt"), name="p")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root reads everything")
    (tmp_path / "a.py").touch(mode=0o000)
    with pytest.raises(ConfigError, match=r"a\.py"):
        tree.read(tmp_path, names("a.py"), name="p")
