"""Runs on all nodes together and measures the connection of each pair through gloo.

A transport sends this text to a Python with torch on each node. When all that will come have
imported torch, they measure their pairs in the same order, so two nodes wait only for each other.
Each pair has its own store at its own port, so a pair that fails does not affect the others. After
a time limit from then on, the program prints what it has: a call into gloo that hangs cannot be
interrupted.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from datetime import timedelta
from typing import Any

Request = dict[str, Any]

_PINGS = 30
_FIRST_BYTES = 256 * 1024
_MOST_BYTES = 64 * 1024 * 1024
_MEASURED_S = 0.1
_TIMES = 4


class Report:
    """The results so far. It is printed once: at the end, or at the time limit."""

    def __init__(self, limit_s: float) -> None:
        self.pairs: dict[str, Request] = {}
        self._lock = threading.Lock()
        clock = threading.Timer(limit_s, self.finish)
        clock.daemon = True
        clock.start()

    def finish(self) -> None:
        """Print the report and exit, even if other threads still run."""
        with self._lock:
            sys.stdout.write(json.dumps({"pairs": self.pairs}))
            sys.stdout.flush()
            os._exit(0)


def measure(distributed: Any, torch: Any, *, first: bool) -> Request:
    """Return the round trip time and the bytes per second; the `first` of the two leads."""
    peer, small = (1 if first else 0), torch.zeros(1)

    def round_trip(there: Any, back: Any) -> float:
        began = time.monotonic()
        if first:
            distributed.send(there, peer)
            distributed.recv(back, peer)
        else:
            distributed.recv(back, peer)
            distributed.send(there, peer)
        return time.monotonic() - began

    round_trip(small, small.clone())  # connects
    pings = sorted(round_trip(small, small.clone()) for _ in range(_PINGS))
    probe = torch.zeros(_FIRST_BYTES, dtype=torch.uint8)
    seconds = round_trip(probe, probe.clone())
    # The first one decides how much both send, so that a slow connection does not take long.
    size = torch.tensor([_FIRST_BYTES / seconds * _MEASURED_S])
    distributed.broadcast(size, 0)
    large = torch.zeros(int(min(max(float(size), _FIRST_BYTES), _MOST_BYTES)), dtype=torch.uint8)
    best = min(round_trip(large, large.clone()) for _ in range(_TIMES))
    return {"latency_s": pings[len(pings) // 2], "bytes_per_s": 2 * len(large) / best}


def measure_pair(pair: Request, torch: Any, distributed: Any) -> Request:
    """Measure one pair."""
    timeout = timedelta(seconds=pair["limit_s"])
    listening: Request = {}
    if pair["first"]:  # torch itself would listen on all addresses
        family = socket.AF_INET6 if ":" in pair["address"] else socket.AF_INET
        server = socket.create_server((pair["address"], pair["port"]), family=family)
        listening = {"master_listen_fd": server.detach()}
    store = distributed.TCPStore(
        pair["address"], pair["port"], 2, is_master=pair["first"], timeout=timeout, **listening
    )
    distributed.init_process_group(
        "gloo", store=store, rank=0 if pair["first"] else 1, world_size=2, timeout=timeout
    )
    try:
        result = measure(distributed, torch, first=pair["first"])
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
    return result


def main() -> None:
    """Answer one request."""
    request: Request = json.loads(sys.stdin.readline())
    if request["interface"]:
        os.environ["GLOO_SOCKET_IFNAME"] = request["interface"]
    os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"
    missing = ""
    try:
        import torch  # noqa: PLC0415 - takes seconds, which do not count
        from torch import distributed  # noqa: PLC0415
    except ImportError as error:
        missing = str(error)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    ready = json.loads(sys.stdin.readline())
    report = Report(request["limit_s"])
    for pair in request["pairs"]:
        problem = missing or ("" if pair["peer"] in ready else "the other one was not ready")
        try:
            report.pairs[pair["name"]] = (
                {"problem": problem} if problem else measure_pair(pair, torch, distributed)
            )
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            report.pairs[pair["name"]] = {"problem": f"{type(error).__name__}: {reason}"[:300]}
    report.finish()


if __name__ == "__main__":
    main()
