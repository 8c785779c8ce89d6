"""Runs on a node and tells how it is. Self-contained: a transport sends this text to a Python.

Standard library only, and nothing that Python 3.8 does not run, so that a node with an old one can
still say so. Every question has a thread and a time limit of its own: a dead file server costs one
answer, not all. Reads a JSON object from stdin, writes one to stdout.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import ipaddress
import json
import os
import platform
import queue
import re
import resource
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Tuple  # noqa: UP035 - old Pythons

Request = Dict[str, Any]  # noqa: UP006
Question = Tuple[Callable[[Request], Any], float]  # noqa: UP006

_SIOCGIFCONF, _SIOCGIFNETMASK = 0x8912, 0x891B
_IFREQ_BYTES = 40
_MOST_ADDRESSES = 256
_GPU_FIELDS = "index,uuid,name,memory.total"


def host(request: Request) -> Request:
    """Who this machine is, and what a run may use of it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    memlock, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return {
        "hostname": socket.gethostname(),
        "boot_id": _line("/proc/sys/kernel/random/boot_id"),
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "nofile": [soft, hard],
        "memlock": memlock,
        "visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def packages(request: Request) -> Request:
    """Versions by metadata: importing torch would take seconds."""
    found = {}
    for name in request["packages"]:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def torch_build(request: Request) -> Request:
    """What torch was built for, as the file says that its build wrote."""
    folder = _package_folder("torch")
    if folder is None:
        return {}
    text = (folder / "version.py").read_text(encoding="utf-8")
    found = {}
    for name in ("cuda", "hip"):
        match = re.search(rf"^{name}\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
        found[name] = match.group(1) if match else ""
    return found


def code(request: Request) -> str:
    """A digest of the launcher's own files: two checkouts of one version may differ."""
    folder = _package_folder("launcher")
    if folder is None:
        return ""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def driver(request: Request) -> str:
    """Version of the NVIDIA driver; empty without one."""
    try:
        first = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    except OSError:
        return ""
    match = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", first)
    return match.group(1) if match else first


def gpus(request: Request) -> list[Request]:
    """GPUs and who computes on them already."""
    if shutil.which("nvidia-smi") is None:
        return []
    used: dict[str, list[int]] = {}
    for uuid, pid in _smi("--query-compute-apps=gpu_uuid,pid"):
        used.setdefault(uuid, []).append(int(pid))
    return [
        {
            "index": index,
            "uuid": uuid,
            "name": name,
            "memory_mib": int(mib),
            "pids": used.get(uuid, []),
        }
        for index, uuid, name, mib in _smi(f"--query-gpu={_GPU_FIELDS}")
    ]


def free_root(request: Request) -> int:
    """Free bytes where the storage root is, or will be."""
    folder = Path(request["root"])
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free


def free_tmp(request: Request) -> int:
    """Free bytes in the folder for temporary files, which no other node sees."""
    return shutil.disk_usage(tempfile.gettempdir()).free


def free_shm(request: Request) -> int | None:
    """Free bytes in shared memory."""
    folder = "/dev/shm"  # noqa: S108 - the very folder is what we ask about
    return shutil.disk_usage(folder).free if Path(folder).is_dir() else None


def interfaces(request: Request) -> list[Request]:
    """Addresses that others might reach, with the interface of each."""
    found = [*_ipv4(), *_ipv6()]
    for each in found:
        path = f"/sys/class/net/{each['name']}"
        each["up"] = _line(f"{path}/operstate") != "down"
        speed = _line(f"{path}/speed")
        each["speed_mbps"] = max(0, int(speed)) if speed.lstrip("-").isdigit() else 0
    return found


def head_name(request: Request) -> list[str]:
    """What the head's name means here."""
    found = socket.getaddrinfo(request["head"], None, type=socket.SOCK_STREAM)
    return sorted({str(each[4][0]) for each in found})


def free_ports(request: Request) -> list[int]:
    """Those of the ports on which a server could listen here."""
    return [port for port in request["ports"] if _is_free(port)]


def storage(request: Request) -> Request:
    """Read what was written where the command was typed, and write what is read there."""
    if not request.get("marker"):
        return {}
    folder, nonce = Path(request["marker"]), request["nonce"]
    if not folder.is_dir():
        root = Path(request["root"])
        reason = "is another folder here, not the shared one" if root.is_dir() else "is not there"
        return {"problem": reason}
    try:
        if (folder / "here").read_text(encoding="utf-8") != nonce:
            return {"problem": "shows old content"}
        with (folder / str(request["rank"])).open("x", encoding="utf-8") as file:
            file.write(nonce)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return {"problem": (error.strerror or str(error)).lower()}
    return {}


QUESTIONS: dict[str, Question] = {
    "host": (host, 3.0),
    "packages": (packages, 5.0),
    "torch_build": (torch_build, 5.0),
    "code": (code, 5.0),
    "driver": (driver, 3.0),
    "gpus": (gpus, 8.0),
    "free_root": (free_root, 4.0),
    "free_tmp": (free_tmp, 3.0),
    "free_shm": (free_shm, 3.0),
    "interfaces": (interfaces, 3.0),
    "head_name": (head_name, 4.0),
    "free_ports": (free_ports, 3.0),
    "storage": (storage, 5.0),
}
"""Name -> question, and the seconds it may take at most."""


def ask_all(request: Request) -> tuple[Request, Request]:
    """Return the answers, and why those that are missing are."""
    answers: queue.Queue[tuple[str, bool, Any]] = queue.Queue()
    for name, (question, _) in QUESTIONS.items():
        thread = threading.Thread(target=_ask, args=(name, question, request, answers))
        thread.daemon = True  # one that waits for a dead file server cannot be ended, only left
        thread.start()
    began = time.monotonic()
    facts: Request = {}
    problems: Request = {}
    waiting = {name: min(limit, request["limit_s"]) for name, (_, limit) in QUESTIONS.items()}
    while waiting:
        rest = began + max(waiting.values()) - time.monotonic()
        try:
            name, well, value = answers.get(timeout=max(0.0, rest))
        except queue.Empty:
            break
        if name in waiting:
            del waiting[name]
            (facts if well else problems)[name] = value
    for name, limit in waiting.items():
        problems[name] = f"no answer within {limit:g} s"
    return facts, problems


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    began = time.time()
    facts, problems = ask_all(request)
    answer = {"began": began, "ended": time.time(), "facts": facts, "problems": problems}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # threads that still wait must not keep the answer back


def _ask(name: str, question: Any, request: Request, answers: Any) -> None:
    try:
        answers.put((name, True, question(request)))
    except Exception as error:
        answers.put((name, False, f"{type(error).__name__}: {error}"))


def _line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _smi(query: str) -> Iterator[list[str]]:
    done = subprocess.run(
        ["nvidia-smi", query, "--format=csv,noheader,nounits"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        raise RuntimeError(text.strip().partition("\n")[0])
    for line in text.splitlines():
        yield [part.strip() for part in line.split(",")]


def _ipv4() -> Iterator[Request]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        room = array.array("B", bytes(_IFREQ_BYTES * _MOST_ADDRESSES))
        asked = struct.pack("iL", len(room), room.buffer_info()[0])
        size, _ = struct.unpack("iL", fcntl.ioctl(link.fileno(), _SIOCGIFCONF, asked))
        raw = room.tobytes()[:size]
        for start in range(0, size, _IFREQ_BYTES):
            name = raw[start : start + 16].partition(b"\0")[0]
            address = ipaddress.ip_address(raw[start + 20 : start + 24])
            mask = fcntl.ioctl(link.fileno(), _SIOCGIFNETMASK, struct.pack("256s", name))[20:24]
            if not address.is_loopback:
                yield _interface(name.decode(), str(address), bin(int.from_bytes(mask, "big")))


def _ipv6() -> Iterator[Request]:
    for line in _line("/proc/net/if_inet6").splitlines():
        digits, _, prefix, scope, _, name = line.split()
        if scope == "00":  # global: neither loopback nor of one link only
            address = ipaddress.ip_address(bytes.fromhex(digits))
            yield _interface(name, str(address), "1" * int(prefix, 16))


def _interface(name: str, address: str, ones: str) -> Request:
    # `eth0:1` is a second address of eth0, by the old way of giving one
    return {"name": name.partition(":")[0], "address": address, "prefix": ones.count("1")}


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        # As torch's store does: without it a port in TIME_WAIT would seem busy.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("", port))
            server.listen(1)
        except OSError:
            return False
    return True


if __name__ == "__main__":
    main()
