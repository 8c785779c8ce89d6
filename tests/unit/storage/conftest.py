"""A loopback web server that can be slow, cut, or ignorant of ranges."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Web(ThreadingHTTPServer):
    """One file under every path."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.honours_ranges = True
        self.tells_size = True
        self.etag = "v1"
        self.failures: list[int] = []
        """Status codes that the next requests for content are answered with; 0 cuts the answer."""
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.sent = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class _Handler(BaseHTTPRequestHandler):
    server: Web

    def do_HEAD(self) -> None:
        self._head(200, len(self.server.content))

    def do_GET(self) -> None:
        self.server.may_answer.wait(60)
        failure = self.server.failures.pop(0) if self.server.failures else None
        if failure:
            self._head(failure, 0)
            return
        content, status = self.server.content, 200
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match is not None and self.server.honours_ranges:
            content, status = content[int(match[1]) : int(match[2]) + 1], 206
        self._head(status, len(content))
        self.wfile.write(content[: len(content) // 2] if failure == 0 else content)
        self.server.sent += len(content)

    def _head(self, status: int, size: int) -> None:
        self.send_response(status)
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        if self.server.tells_size:
            self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web(bytes(range(256)) * (16 << 10))  # 4 MiB
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.may_answer.set()
    server.shutdown()
    server.server_close()
