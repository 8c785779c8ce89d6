"""Runs on every node at once and measures, pair after pair, how fast two nodes talk through gloo.

Self-contained: a transport sends this text to a Python there, which needs torch. Every node goes
through its pairs in the same order, so two nodes wait for each other and for nobody else. A pair
meets in a store of its own, at a port of its own: one that fails leaves the others alone. When the
time is over it tells what it has; a call into gloo that hangs cannot be interrupted, only left.
"""

from __future__ import annotations

import json
import os
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


class Answer:
    """What is known so far; told once, by whoever is first: the end or the clock."""

    def __init__(self, limit_s: float) -> None:
        self.pairs: dict[str, Request] = {}
        self._lock = threading.Lock()
        clock = threading.Timer(limit_s, self.tell)
        clock.daemon = True
        clock.start()

    def tell(self) -> None:
        """Print the answer and leave, whatever else still runs."""
        with self._lock:
            sys.stdout.write(json.dumps({"pairs": self.pairs}))
            sys.stdout.flush()
            os._exit(0)


def measure(distributed: Any, torch: Any, *, first: bool) -> Request:
    """Return seconds of a way there and back, and bytes per second; `first` of the two leads."""
    peer, small = (1 if first else 0), torch.zeros(1)

    def there_and_back(there: Any, back: Any) -> float:
        began = time.monotonic()
        if first:
            distributed.send(there, peer)
            distributed.recv(back, peer)
        else:
            distributed.recv(back, peer)
            distributed.send(there, peer)
        return time.monotonic() - began

    there_and_back(small, small.clone())  # connects
    pings = sorted(there_and_back(small, small.clone()) for _ in range(_PINGS))
    probe = torch.zeros(_FIRST_BYTES, dtype=torch.uint8)
    seconds = there_and_back(probe, probe.clone())
    # The leader decides for both how much is sent, so that a slow link does not take long.
    size = torch.tensor([_FIRST_BYTES / seconds * _MEASURED_S])
    distributed.broadcast(size, 0)
    large = torch.zeros(int(min(max(float(size), _FIRST_BYTES), _MOST_BYTES)), dtype=torch.uint8)
    best = min(there_and_back(large, large.clone()) for _ in range(_TIMES))
    return {"latency_s": pings[len(pings) // 2], "bytes_per_s": 2 * len(large) / best}


def meet(pair: Request, torch: Any, distributed: Any) -> Request:
    """Measure one pair."""
    timeout = timedelta(seconds=pair["limit_s"])
    store = distributed.TCPStore(
        pair["address"], pair["port"], 2, is_master=pair["first"], timeout=timeout
    )
    distributed.init_process_group(
        "gloo", store=store, rank=0 if pair["first"] else 1, world_size=2, timeout=timeout
    )
    try:
        found = measure(distributed, torch, first=pair["first"])
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
    return found


def main() -> None:
    """Answer one request."""
    request: Request = json.load(sys.stdin)
    answer = Answer(request["limit_s"])
    if request["interface"]:
        os.environ["GLOO_SOCKET_IFNAME"] = request["interface"]
    os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"
    try:
        import torch  # noqa: PLC0415 - takes seconds: the clock above has to run already
        from torch import distributed  # noqa: PLC0415
    except ImportError as error:
        answer.pairs = {pair["name"]: {"problem": str(error)} for pair in request["pairs"]}
        answer.tell()
    for pair in request["pairs"]:
        try:
            answer.pairs[pair["name"]] = meet(pair, torch, distributed)
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            answer.pairs[pair["name"]] = {"problem": f"{type(error).__name__}: {reason}"[:300]}
    answer.tell()


if __name__ == "__main__":
    main()
