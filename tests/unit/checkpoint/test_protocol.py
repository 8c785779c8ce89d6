"""The steps of a save that several ranks take, one by one, and a crash between any two of them.

The file system here keeps apart what is in memory and what is durable. A kill loses nothing that
was written; a power cut loses what was not synchronised, in part or as a whole. The same campaign
with a file system that forgets to synchronise must find losses, or it would prove nothing.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from launcher.checkpoint import list_commits
from launcher.checkpoint.blocks import DamagedError, check_file
from launcher.checkpoint.checksummed import encode_record, write_record
from launcher.checkpoint.commits import candidates
from launcher.checkpoint.files import PosixFiles, Reader, Writer
from launcher.checkpoint.layout import (
    CheckpointLayout,
    CommitKey,
    CommitRecord,
    Signature,
    data_name,
    shard_name,
)
from launcher.checkpoint.plan import TensorSpec, in_file_order, share_out
from launcher.checkpoint.protocol import (
    Part,
    check_manifests,
    give_up,
    leave_note,
    look_for_manifests,
    look_for_outcome,
    publish,
    reason_given_up,
    wait_for,
    write_part,
)
from launcher.checkpoint.retention import KeepLast, retain
from launcher.checkpoint.shards import describe
from launcher.checkpoint.verification import open_commit
from launcher.errors import CheckpointError

ROOT = Path("/run/checkpoints")
LAYOUT = CheckpointLayout(ROOT)
WORLD = 2
SPEC = TensorSpec(name="model/w", dtype="U8", shape=(2, 4096))


class Crash(BaseException):
    """The machine, or the process, is gone."""


@dataclass
class Simulated:
    """A `Files` that counts its operations, crashes at one of them, and knows what survives."""

    limit: int | None = None
    syncs_files: bool = True
    syncs_folders: bool = True
    done: int = 0
    names: dict[Path, int] = field(default_factory=dict)
    durable_names: dict[Path, int] = field(default_factory=dict)
    content: dict[int, bytes] = field(default_factory=dict)
    durable: dict[int, bytes] = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)
    durable_folders: set[Path] = field(default_factory=set)

    def tick(self) -> None:
        self.done += 1
        if self.limit is not None and self.done > self.limit:
            raise Crash

    def sizes(self, folder: Path) -> dict[str, int]:
        found = {
            at.name: len(self.content[i]) for at, i in self.names.items() if at.parent == folder
        }
        return found | {at.name: 0 for at in self.folders if at.parent == folder}

    def read(self, path: Path) -> bytes:
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, "missing", str(path))
        return self.content[self.names[path]]

    def free_bytes(self, folder: Path) -> int:
        return 2**40

    def make_folder(self, path: Path) -> None:
        if path in self.folders or path == path.parent:
            return
        self.make_folder(path.parent)
        self.tick()
        self.folders.add(path)
        self.sync_folder(path.parent)

    def create(self, path: Path) -> Writer:
        if path in self.names:
            raise FileExistsError(errno.EEXIST, "exists", str(path))
        self.tick()
        self.names[path] = len(self.content) + 1
        self.content[self.names[path]] = b""
        return _SimulatedSink(self, self.names[path])

    def open(self, path: Path) -> Reader:
        return _SimulatedSource(self.read(path))

    def publish(self, temporary: Path, path: Path) -> None:
        if path in self.names:
            raise FileExistsError(errno.EEXIST, "exists", str(path))
        self.tick()
        self.names[path] = self.names[temporary]
        self.remove(temporary)

    def sync_folder(self, path: Path) -> None:
        self.tick()
        if not self.syncs_folders:
            return
        for old in [at for at in self.durable_names if at.parent == path and at not in self.names]:
            del self.durable_names[old]
        self.durable_names |= {at: i for at, i in self.names.items() if at.parent == path}
        self.durable_folders -= {
            at for at in self.durable_folders - self.folders if at.parent == path
        }
        self.durable_folders |= {at for at in self.folders if at.parent == path}

    def remove(self, path: Path) -> None:
        self.tick()
        self.names.pop(path, None)

    def remove_folder(self, path: Path) -> None:
        for at in [at for at in self.names if at.parent == path]:
            self.remove(at)
        self.tick()
        self.folders.discard(path)

    def survives(self, rng: random.Random, *, power_cut: bool) -> Simulated:
        """Return the file system as the next attempt finds it."""
        names, folders = dict(self.names), set(self.folders)
        content = dict(self.content)
        if power_cut:
            names = _some(rng, self.names, self.durable_names)
            folders = {
                at
                for at in self.folders | self.durable_folders
                if (at in self.folders and at in self.durable_folders) or rng.random() < 0.5
            }
            names = {at: i for at, i in names.items() if at.parent in folders}
            for i in set(names.values()):
                content[i] = self._after_power_cut(rng, i)
        return Simulated(
            names=names,
            durable_names=dict(names),
            content=content,
            durable=dict(content),
            folders=folders,
            durable_folders=set(folders),
        )

    def _after_power_cut(self, rng: random.Random, i: int) -> bytes:
        whole = self.content[i]
        if self.durable.get(i) == whole:
            return whole
        third = len(whole) // 3
        return rng.choice(
            [
                b"",
                whole,
                whole[:third],
                bytes(len(whole)),
                whole[:third] + bytes(len(whole) - third),
            ]
        )


def _some(rng: random.Random, names: dict[Path, int], durable: dict[Path, int]) -> dict[Path, int]:
    """Names that were not synchronised are there or not, each by itself."""
    found = {}
    for at in names | durable:
        now, then = names.get(at), durable.get(at)
        chosen = now if now == then or rng.random() < 0.5 else then
        if chosen is not None:
            found[at] = chosen
    return found


class _SimulatedSink:
    def __init__(self, files: Simulated, i: int) -> None:
        self._files, self._i = files, i

    def write(self, parts: Sequence[memoryview]) -> None:
        for part in parts:
            self._files.tick()
            half = len(part) // 2
            self._files.content[self._i] += bytes(part[:half])
            self._files.tick()
            self._files.content[self._i] += bytes(part[half:])

    def close(self) -> None:
        self._files.tick()
        if self._files.syncs_files:
            self._files.durable[self._i] = self._files.content[self._i]

    def abandon(self) -> None:
        return


class _SimulatedSource:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def read_into(self, offset: int, parts: Sequence[memoryview]) -> int:
        done = 0
        for part in parts:
            piece = self._content[offset + done : offset + done + len(part)]
            part[: len(piece)] = piece
            done += len(piece)
        return done

    def close(self) -> None:
        return


def part_of(rank: int, key: CommitKey, agreed: dict[str, str] | None = None) -> Part:
    file = shard_name(rank)
    pieces = in_file_order(share_out([SPEC], WORLD)[rank])
    return Part(
        key=key,
        rank=rank,
        world_size=WORLD,
        file=file,
        shard=describe(pieces, file, {}),
        agreed=agreed or {"step": str(key.step)},
    )


def payload(part: Part) -> memoryview:
    return memoryview(bytes([part.key.step + part.rank]) * part.shard.payload_bytes)


def record_of(
    files: Simulated, key: CommitKey, folder: Path, base: CommitKey | None
) -> CommitRecord:
    raw, _ = look_for_manifests(files, folder, WORLD)
    assert raw is not None
    manifests, size = check_manifests(files, folder, raw, {"step": str(key.step)})
    return CommitRecord(
        generation=key.generation,
        step=key.step,
        data=folder.name,
        world_size=WORLD,
        engine="test",
        created_at=0.0,
        base=base,
        size_bytes=size,
        manifests=manifests,
        signature=Signature(digest="", tensors=1, size_bytes=SPEC.size_bytes),
        logical={"step": key.step},
    )


def save(files: Simulated, key: CommitKey, base: CommitKey | None = None) -> None:
    """What the ranks and the coordinator do, one after the other."""
    folder = LAYOUT.data_folder(data_name(key, "abcd"))
    for rank in range(WORLD):
        files.make_folder(folder)
        part = part_of(rank, key)
        write_part(files, folder, part, payload(part))
    publish(files, LAYOUT, record_of(files, key, folder, base))


def loaded_step(files: Simulated) -> int | None:
    """What the next attempt goes on from; every byte is checked against what was written."""
    for info in candidates(files, LAYOUT, "auto"):
        try:
            opened = open_commit(files, LAYOUT, info.key)
            for entry in opened.files.values():
                for error in check_file(files, opened.folder / entry.name, entry):
                    raise error
        except (DamagedError, OSError):
            continue
        for rank in range(WORLD):
            part = part_of(rank, info.key)
            content = files.read(opened.folder / part.file)
            assert content == part.shard.header + bytes(payload(part)), "silent corruption"
        return info.step
    return None


def one_crash(
    limit: int, rng: random.Random, *, power_cut: bool, **syncs: bool
) -> tuple[bool, str]:
    """Crash after `limit` operations; returns whether all was done before, and the outcome."""
    files = Simulated(**syncs)  # type: ignore[arg-type]
    for folder in (LAYOUT.generations, LAYOUT.data, LAYOUT.commits):
        files.make_folder(folder)
    files.durable_folders = set(files.folders)
    files.done, files.limit = 0, limit
    acknowledged = None
    try:
        for step in range(1, 4):
            save(files, CommitKey(1, step))
            acknowledged = step
            retain(files, LAYOUT, KeepLast(2), newest=CommitKey(1, step))
        finished = True
    except Crash:
        finished = False
    try:
        found = loaded_step(files.survives(rng, power_cut=power_cut))
    except CheckpointError:
        found = None
    if acknowledged is not None and (found is None or found < acknowledged):
        return finished, f"step {acknowledged} was acknowledged, {found} is there"
    return finished, "ok"


def campaign(*, power_cut: bool, repeats: int, **syncs: bool) -> tuple[int, set[str]]:
    rng = random.Random(7)
    limit, outcomes, crashes = 0, set(), 0
    while True:
        for _ in range(repeats):
            finished, outcome = one_crash(limit, rng, power_cut=power_cut, **syncs)
            outcomes.add(outcome)
            crashes += 1
        if finished:
            return crashes, outcomes - {"ok"}
        limit += 1


def test_a_kill_after_any_operation_loses_no_acknowledged_step() -> None:
    crashes, bad = campaign(power_cut=False, repeats=1)
    assert bad == set()
    assert crashes > 80


def test_a_power_cut_after_any_operation_loses_no_acknowledged_step() -> None:
    crashes, bad = campaign(power_cut=True, repeats=4)
    assert bad == set()
    assert crashes > 300


@pytest.mark.parametrize("forgets", ["syncs_files", "syncs_folders"])
def test_the_campaign_finds_a_forgotten_fsync(forgets: str) -> None:
    _, bad = campaign(power_cut=True, repeats=1, **{forgets: False})
    assert bad


@pytest.fixture
def files() -> Simulated:
    made = Simulated()
    for folder in (LAYOUT.generations, LAYOUT.data, LAYOUT.commits):
        made.make_folder(folder)
    return made


FOLDER = LAYOUT.data_folder("000001-00000005-abcd")
KEY = CommitKey(1, 5)


def test_nothing_is_committed_before_the_last_manifest_is_there(files: Simulated) -> None:
    files.make_folder(FOLDER)
    part = part_of(0, KEY)
    write_part(files, FOLDER, part, payload(part))
    assert look_for_manifests(files, FOLDER, WORLD)[0] is None


def test_ranks_that_disagree_are_not_committed(files: Simulated) -> None:
    files.make_folder(FOLDER)
    for rank in range(WORLD):
        part = part_of(rank, KEY, {"step": "5", "scheduler": f"as rank {rank} sees it"})
        write_part(files, FOLDER, part, payload(part))
    raw, _ = look_for_manifests(files, FOLDER, WORLD)
    assert raw is not None
    agreed = {"step": "5", "scheduler": "as rank 0 sees it"}
    with pytest.raises(CheckpointError, match="rank 1 differs from rank 0 in `scheduler`"):
        check_manifests(files, FOLDER, raw, agreed)


def test_a_shard_that_storage_has_cut_short_is_not_committed(files: Simulated) -> None:
    files.make_folder(FOLDER)
    for rank in range(WORLD):
        part = part_of(rank, KEY)
        write_part(files, FOLDER, part, payload(part))
    files.content[files.names[FOLDER / "s001.safetensors"]] = b"short"
    raw, _ = look_for_manifests(files, FOLDER, WORLD)
    assert raw is not None
    with pytest.raises(CheckpointError, match=r"s001\.safetensors, storage has 5"):
        check_manifests(files, FOLDER, raw, {"step": "5"})


def test_the_same_commit_twice_is_one_commit_and_another_one_is_refused(files: Simulated) -> None:
    save(files, KEY)
    record = record_of(files, KEY, FOLDER, None)
    publish(files, LAYOUT, record)  # as after a network file system repeated the request
    with pytest.raises(CheckpointError, match="cannot be published"):
        publish(files, LAYOUT, record_of(files, KEY, FOLDER, CommitKey(1, 1)))
    assert [info.step for info in list_commits(ROOT, files=files)] == [5]


def test_a_rank_that_failed_tells_the_coordinator(files: Simulated) -> None:
    files.make_folder(FOLDER)
    leave_note(
        files, FOLDER, part_of(1, KEY), CheckpointError("disk full: it is", hint="free some")
    )
    with pytest.raises(CheckpointError, match="disk full: it is") as caught:
        look_for_manifests(files, FOLDER, WORLD)
    assert caught.value.context == "reported by rank 1"
    assert caught.value.hint == "free some"


def test_a_save_that_is_given_up_tells_the_other_ranks_and_frees_the_space(
    files: Simulated,
) -> None:
    files.make_folder(FOLDER)
    part = part_of(1, KEY)
    write_part(files, FOLDER, part, payload(part))
    assert look_for_outcome(files, LAYOUT, KEY, FOLDER)[0] is None
    give_up(files, FOLDER, CheckpointError("rank 0 is sorry", hint="-"), alone=False)
    assert set(files.sizes(FOLDER)) == {"given-up.json"}
    with pytest.raises(CheckpointError, match="rank 0 is sorry"):
        look_for_outcome(files, LAYOUT, KEY, FOLDER)


@dataclass
class RemovalWatched(Simulated):
    """Notes what a rank that is still writing could find at the moment its file goes."""

    reasons: list[CheckpointError | None] = field(default_factory=list)

    def remove(self, path: Path) -> None:
        super().remove(path)
        if "given-up" not in path.name:
            self.reasons.append(reason_given_up(self, FOLDER))


def test_the_reason_is_there_before_the_first_file_of_another_rank_goes() -> None:
    files = RemovalWatched()
    files.make_folder(FOLDER)
    part = part_of(1, KEY)
    write_part(files, FOLDER, part, payload(part))
    files.reasons.clear()
    give_up(files, FOLDER, CheckpointError("rank 0 is sorry", hint="-"), alone=False)
    assert files.reasons
    assert all(reason and reason.message == "rank 0 is sorry" for reason in files.reasons)


def test_a_folder_that_went_away_is_a_save_given_up(files: Simulated) -> None:
    with pytest.raises(CheckpointError, match="given up"):
        look_for_outcome(files, LAYOUT, KEY, FOLDER)


def test_the_others_learn_of_the_commit(files: Simulated) -> None:
    save(files, KEY)
    assert look_for_outcome(files, LAYOUT, KEY, FOLDER)[0] is True
    with pytest.raises(CheckpointError, match="committed by somebody else"):
        look_for_outcome(files, LAYOUT, KEY, FOLDER.with_name("000001-00000005-ffff"))


def test_waiting_ends_when_nothing_changes_any_more() -> None:
    now = [0.0]
    seen = iter([1, 2, 3, 4] + [4] * 10_000)
    assert (
        wait_for(
            lambda: (None, next(seen)),
            timeout_s=10,
            clock=lambda: now[0],
            sleep=lambda pause: now.__setitem__(0, now[0] + max(pause, 4.0)),
        )
        is None
    )
    assert 20 <= now[0] <= 40, "progress must restart the clock, and silence must end it"


def test_a_record_that_exists_is_never_replaced(tmp_path: Path) -> None:
    write_record(PosixFiles(), tmp_path / "a.json", b"first")
    with pytest.raises(FileExistsError):
        write_record(PosixFiles(), tmp_path / "a.json", b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_bytes() == b"first"


def test_a_newer_generation_stops_the_commit(files: Simulated) -> None:
    folder = FOLDER
    files.make_folder(folder)
    for rank in range(WORLD):
        part = part_of(rank, KEY)
        write_part(files, folder, part, payload(part))
    record = record_of(files, KEY, folder, None)
    files.names[LAYOUT.generation(2)] = 999
    files.content[999] = encode_record(record)
    with pytest.raises(CheckpointError, match="generation 2 was claimed"):
        publish(files, LAYOUT, record)
    assert list_commits(ROOT, files=files) == []
