"""What every fetcher must do: complete, verified, resumable, and without leaks. No network."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from launcher import staging
from launcher.errors import StagingError
from launcher.specs import StagedItem, StageItem

__all__ = ["FILES", "SECRET", "FetcherCase", "FetcherContract"]

FILES = {
    "config.json": b'{"a": 1}',
    "weights.bin": bytes(range(256)) * (12 << 10),  # 3 MiB: several ranges
    "deep/er/vocab.txt": b"one\ntwo\n",
}
"""What the source of a case offers, unless the case says otherwise."""
SECRET = "s3cr3t-t0ken"  # noqa: S105 - not a real one
"""Use it as the password or token of the source: the suite checks that it appears nowhere."""


@dataclass
class FetcherCase:
    """One kind of source, with the levers that the tests pull."""

    item: StageItem
    expected: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    corrupt: Callable[[], StageItem] | None = None
    """Makes the content other than promised; returns the item to stage then."""
    heal: Callable[[], StageItem] | None = None
    """Makes it right again."""
    traverse: Callable[[], StageItem] | None = None
    """Makes the source offer a file that leaves its folder."""
    resumes: bool = True
    """Whether a second try transfers less than everything."""
    moved: bool = True
    """Whether bytes are transferred at all."""
    asked: list[str] = field(default_factory=list)
    """Requests for content that the server got."""


class FetcherContract:
    """Subclass it as `class TestMine(FetcherContract)` and override the fixture `case`.

    The source of the case is on this machine: files, or a server on 127.0.0.1.
    """

    @pytest.fixture
    def case(self) -> FetcherCase:
        """Return a source that offers `FILES`, and what can be done to it."""
        raise NotImplementedError("override the fixture `case`")

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return tmp_path / "storage root"

    def test_what_is_staged_is_what_the_source_has(self, case: FetcherCase, root: Path) -> None:
        listener = RecordingProgress()
        staged = staging.stage([case.item], root=root, progress=listener)[case.item.name]
        assert files_of(Path(staged.path)) == case.expected
        assert staging.verify(Path(staged.path)) == ()
        assert (staged.transferred_bytes > 0) == case.moved
        assert listener.done == [staged]
        assert [p.name for p in (root / "staged").iterdir()] == [Path(staged.path).name]

    def test_progress_adds_up_to_the_announced_total(self, case: FetcherCase, root: Path) -> None:
        listener = RecordingProgress()
        staging.stage([case.item], root=root, progress=listener)
        if case.moved:
            assert listener.totals[-1] == listener.bytes

    def test_staging_again_transfers_nothing(self, case: FetcherCase, root: Path) -> None:
        first = staging.stage([case.item], root=root)[case.item.name]
        case.asked.clear()
        again = staging.stage([case.item], root=root)[case.item.name]
        assert again.path == first.path
        assert again.transferred_bytes == 0
        assert case.asked == []

    def test_a_cut_publishes_nothing_and_the_next_try_resumes(
        self, case: FetcherCase, root: Path
    ) -> None:
        with pytest.raises(StagingError, match="disk full") as caught:
            staging.stage([case.item], root=root, progress=RecordingProgress(fail_after=1))
        assert _published(root) == []
        assert caught.value.exit_code == 4
        assert str(root) in caught.value.message
        staged = staging.stage([case.item], root=root)[case.item.name]
        assert files_of(Path(staged.path)) == case.expected
        whole = sum(map(len, case.expected.values()))
        if case.resumes:
            assert staged.transferred_bytes < whole
        assert _published(root) == [Path(staged.path).name]

    def test_a_wrong_digest_is_refused(self, case: FetcherCase, root: Path) -> None:
        if case.corrupt is None:
            pytest.skip("this source promises no digest")
        item = case.corrupt()
        with pytest.raises(StagingError, match="does not match the expected digest"):
            staging.stage([item], root=root)
        assert _published(root) == []
        if case.heal is not None:  # wrong bytes must not have been kept for the next try
            staged = staging.stage([case.heal()], root=root)[case.item.name]
            assert files_of(Path(staged.path)) == case.expected

    def test_a_path_that_leaves_its_folder_is_refused(
        self, case: FetcherCase, root: Path, tmp_path: Path
    ) -> None:
        if case.traverse is None:
            pytest.skip("the file system behind this source cannot offer such a name")
        with pytest.raises(StagingError, match="evil"):
            staging.stage([case.traverse()], root=root)
        assert _published(root) == []
        assert not list(tmp_path.rglob("evil.txt")) or case.moved is False

    def test_no_secret_is_written_or_said(
        self, case: FetcherCase, root: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, logger="launcher")
        staged = staging.stage([case.item], root=root)[case.item.name]
        assert SECRET not in caplog.text
        assert SECRET not in (Path(staged.path) / ".launcher-manifest.json").read_text("utf-8")
        assert SECRET not in str(staged)

    def test_a_damaged_snapshot_is_staged_again(self, case: FetcherCase, root: Path) -> None:
        staged = staging.stage([case.item], root=root)[case.item.name]
        (Path(staged.path) / next(iter(case.expected))).unlink()
        again = staging.stage([case.item], root=root)[case.item.name]
        assert files_of(Path(again.path)) == case.expected
        assert again.path == staged.path

    def test_only_included_files_are_staged(self, case: FetcherCase, root: Path) -> None:
        if case.item.uri.startswith("build://") or len(case.expected) == 1:
            pytest.skip("nothing to choose from")
        prefix = f"{case.item.strip}/" if case.item.strip else ""
        chosen = list(case.expected)[-1]
        item = replace(case.item, include=(f"{prefix}{chosen}",))
        staged = staging.stage([item], root=root)[case.item.name]
        assert list(files_of(Path(staged.path))) == [chosen]

    def test_an_include_that_matches_nothing_names_the_nearest(
        self, case: FetcherCase, root: Path
    ) -> None:
        if case.item.uri.startswith("build://"):
            pytest.skip("a build program decides itself")
        prefix = f"{case.item.strip}/" if case.item.strip else ""
        name = next(iter(case.expected))
        item = replace(case.item, include=(f"{prefix}{name}x",))
        with pytest.raises(StagingError, match="no file of") as caught:
            staging.stage([item], root=root)
        assert f"did you mean `{prefix}{name}`" in caught.value.hint


class RecordingProgress(staging.NoProgress):
    """Counts, and fails once after `fail_after` bytes, as a full disk would."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.totals: list[int | None] = []
        self.bytes = 0
        self.done: list[StagedItem] = []
        self._fail_after = fail_after

    def started(self, item_name: str, uri: str, total_bytes: int | None) -> None:
        assert SECRET not in uri
        self.totals.append(total_bytes)

    def advanced(self, item_name: str, n_bytes: int) -> None:
        self.bytes += n_bytes
        self._maybe_fail(self.bytes)

    def counted(self, item_name: str, done: int, total: int, unit: str) -> None:
        self._maybe_fail(done)

    def finished(self, item: StagedItem) -> None:
        self.done.append(item)

    def _maybe_fail(self, reached: int) -> None:
        if self._fail_after is not None and reached >= self._fail_after:
            self._fail_after = None
            raise OSError(28, "No space left on device")


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of every staged file below `folder`."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".launcher-manifest.json"
    }


def _published(root: Path) -> list[str]:
    staged = root / "staged"
    names = [path.name for path in staged.iterdir()] if staged.exists() else []
    return [name for name in names if not name.startswith(".")]
