"""Runs on all nodes together and finds the addresses at which they reach each other.

A transport sends this text to a Python on each node. Each node listens on its port at all its
addresses. When all that will come are listening, it tries every address of its peers, and keeps
listening until all of them are done or its time is over. The answer proves which node an address
belongs to: a bridge such as docker0 has the same address on all machines, and leads to the machine
itself.

Only this question's nodes know its nonce. Both sides of a connection prove that they do, and the
nonce itself is not sent.
"""

from __future__ import annotations

import hmac
import json
import os
import queue
import socket
import sys
import threading
import time
from typing import Any

Request = dict[str, Any]

_ATTEMPT_S = 2.0  # time for one repeated SYN, which Linux sends after a second
_PAUSE_S = 0.05
_LINE_BYTES = 256
_FINAL = (99, 101)  # EADDRNOTAVAIL, ENETUNREACH: a retry does not help


class Listener:
    """Answers each peer with its own name, and records which peers are done."""

    def __init__(self, request: Request) -> None:
        self._nonce, self._rank = request["nonce"], request["rank"]
        self._done: set[int] = set()
        self._changed = threading.Condition()
        self._server = _server(request["port"])
        _start(self._accept)

    def wait_for(self, peers: set[int], seconds: float) -> None:
        """Return when all `peers` are done, or after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: peers <= self._done, max(0.0, seconds))

    def _accept(self) -> None:
        while True:
            _start(self._serve, self._server.accept()[0])

    def _serve(self, link: socket.socket) -> None:
        with link:
            link.settimeout(_ATTEMPT_S)
            try:
                word, rank, challenge, proof = link.recv(_LINE_BYTES).split()
                if not hmac.compare_digest(proof, _proof(self._nonce, word, rank, challenge)):
                    return
                link.sendall(_proof(self._nonce, challenge, self._rank))
            except (OSError, ValueError):
                return
            if word == b"done" and rank.isdigit():
                with self._changed:
                    self._done.add(int(rank))
                    self._changed.notify_all()


class Peer:
    """Tries all addresses of one other node in parallel."""

    def __init__(self, request: Request, peer: Request) -> None:
        self._rank, self._port = request["rank"], peer["port"]
        self._nonce, self._peer = request["nonce"], peer["rank"]
        self._addresses = peer["addresses"]
        self._until = time.monotonic() + request["timeout_s"]
        self._settle_s = request["settle_s"]

    def find(self) -> Request:
        """Return address -> seconds of those that lead to the peer, address -> reason of others."""
        answers: queue.Queue[tuple[str, float | None, str]] = queue.Queue()
        for address in self._addresses:
            _start(self._try, address, answers)
        reached: dict[str, float] = {}
        failed: dict[str, str] = {}
        until = self._until + _ATTEMPT_S
        while len(reached) + len(failed) < len(self._addresses):
            try:
                address, seconds, reason = answers.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if seconds is None:
                failed[address] = reason
            else:
                reached[address] = seconds
                # The others may time out, and one address is enough.
                until = min(until, time.monotonic() + self._settle_s)
        for address in reached:
            self._talk(address, b"done")
            break
        return {"reached": reached, "failed": failed}

    def _try(self, address: str, answers: Any) -> None:
        reason = "not tried"
        while True:
            began = time.monotonic()
            try:
                proven, answer = self._talk(address, b"who")
            except OSError as error:
                reason = _reason(error)
                if error.errno in _FINAL:
                    break
            else:
                if proven:
                    answers.put((address, time.monotonic() - began, ""))
                    return
                reason = "another machine answers there"
                if answer:
                    break
            if time.monotonic() > self._until:
                break
            time.sleep(_PAUSE_S)
        answers.put((address, None, reason))

    def _talk(self, address: str, word: bytes) -> tuple[bool, bytes]:
        """Return whether the peer answers there, and what was answered."""
        rank, challenge = str(self._rank).encode(), os.urandom(8).hex().encode()
        with socket.create_connection((address, self._port), timeout=_ATTEMPT_S) as link:
            proof = _proof(self._nonce, word, rank, challenge)
            link.sendall(b" ".join((word, rank, challenge, proof)))
            answer = link.recv(_LINE_BYTES)
        return hmac.compare_digest(answer, _proof(self._nonce, challenge, self._peer)), answer


def _proof(nonce: str, *words: Any) -> bytes:
    text = b" ".join(each if isinstance(each, bytes) else str(each).encode() for each in words)
    return hmac.new(nonce.encode(), text, "sha256").hexdigest().encode()


def _server(port: int) -> socket.socket:
    try:
        server = socket.socket(socket.AF_INET6)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    except OSError:  # a kernel without IPv6
        server = socket.socket(socket.AF_INET)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("", port))
    server.listen(256)
    return server


def _reason(error: OSError) -> str:
    if isinstance(error, socket.timeout):
        return "no answer"
    return (error.strerror or str(error)).lower()


def _start(work: Any, *arguments: Any) -> None:
    thread = threading.Thread(target=work, args=arguments)
    thread.daemon = True
    thread.start()


def _find(request: Request, peer: Request, found: Any) -> None:
    found.put((peer["rank"], Peer(request, peer).find()))


def main() -> None:
    """Answer one request."""
    request = json.loads(sys.stdin.readline())
    listener = Listener(request)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    ready = json.loads(sys.stdin.readline())
    until = time.monotonic() + request["timeout_s"] + 1.5 * _ATTEMPT_S
    results: queue.Queue[tuple[int, Request]] = queue.Queue()
    peers: list[Request] = [peer for peer in request["peers"] if peer["rank"] in ready]
    for peer in peers:
        _start(_find, request, peer, results)
    answer = {str(rank): each for rank, each in (results.get() for _ in peers)}
    listener.wait_for({peer["rank"] for peer in peers}, until - time.monotonic())
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
