"""Runs on a node and answers questions about it. A transport sends this text to a Python there.

Reads a JSON object from stdin and writes one to stdout. Each question has its own thread and time
limit: a dead file server costs one answer, not all. The machine of the launcher is asked by the
same functions, without a process.

To add a question: a function and a row of `QUESTIONS` here, a field of `NodeFacts` with the same
name, and a row of `CHECKS` in `launcher.nodes.health`.
"""

from __future__ import annotations

import array
import contextlib
import errno
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Request = dict[str, Any]
Question = tuple[Callable[[Request], Any], float]

_SIOCGIFCONF, _SIOCGIFNETMASK = 0x8912, 0x891B
_IFREQ_BYTES = 40
_MOST_ADDRESSES = 256
_GPU_FIELDS = "index,uuid,name"
_DRIVER = Path("/proc/driver/nvidia")


_LIMITS = {
    "ulimit -v": resource.RLIMIT_AS,
    "ulimit -d": resource.RLIMIT_DATA,
    "ulimit -f": resource.RLIMIT_FSIZE,
    "ulimit -t": resource.RLIMIT_CPU,
    "ulimit -u": resource.RLIMIT_NPROC,
}


def host(request: Request) -> Request:
    """Which machine this is, and what a run can use of it. Each item is an answer of its own."""
    nofile, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "hostname": socket.gethostname(),
        "boot_id": _line("/proc/sys/kernel/random/boot_id"),
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "nofile": nofile,
        "limits": {
            name: soft
            for name, number in _LIMITS.items()
            if (soft := resource.getrlimit(number)[0]) != resource.RLIM_INFINITY
        },
        "visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def packages(request: Request) -> Request:
    """Versions of the installed packages, from their metadata: importing torch takes seconds."""
    versions = {}
    for name in request["packages"]:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def torch_cuda(request: Request) -> str:
    """CUDA or ROCm version that torch was built for, from a file of its build; empty for CPU."""
    folder = _package_folder("torch")
    if folder is None:
        return ""
    text = (folder / "version.py").read_text(encoding="utf-8")
    match = re.search(r"^(?:cuda|hip)\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", text, re.MULTILINE)
    return match.group(1) if match else ""


def code(request: Request) -> str:
    """A digest of the launcher's own files: two checkouts of one version can differ."""
    folder = _package_folder("launcher")
    if folder is None:
        return ""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def driver(request: Request) -> str:
    """Version of the NVIDIA driver; empty without one."""
    first = _line(f"{_DRIVER}/version").partition("\n")[0]
    match = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", first)
    return match.group(1) if match else first


def gpus(request: Request) -> list[Request]:
    """GPUs, and the processes that compute on them."""
    if shutil.which("nvidia-smi") is None:
        return list(_gpus_of_driver())
    used: dict[str, list[int]] = {}
    for uuid, pid in _smi("--query-compute-apps=gpu_uuid,pid"):
        used.setdefault(uuid, []).append(int(pid))
    return [
        {
            "index": index,
            "uuid": uuid,
            "name": name,
            "pids": used.get(uuid, []),
        }
        for index, uuid, name in _smi(f"--query-gpu={_GPU_FIELDS}")
    ]


def free_root(request: Request) -> int:
    """Free bytes where the storage root is, or will be."""
    folder = Path(request["root"])
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free


def free_tmp(request: Request) -> int:
    """Free bytes in the folder for temporary files, which no other node sees."""
    return shutil.disk_usage(tempfile.gettempdir()).free


def free_shm(request: Request) -> int | None:
    """Free bytes in shared memory; None if there is none."""
    folder = "/dev/shm"  # noqa: S108 - the very folder is what we ask about
    return shutil.disk_usage(folder).free if Path(folder).is_dir() else None


def interfaces(request: Request) -> list[Request]:
    """Addresses that others may reach, with the interface of each."""
    found = [*_ipv4(), *_ipv6()]
    for each in found:
        path = f"/sys/class/net/{each['name']}"
        each["up"] = _line(f"{path}/operstate") != "down"
        speed = _line(f"{path}/speed")
        each["speed_mbps"] = max(0, int(speed)) if speed.lstrip("-").isdigit() else 0
    return found


def head_name(request: Request) -> list[str]:
    """Addresses that the head's name resolves to here."""
    found = socket.getaddrinfo(request["head"], None, type=socket.SOCK_STREAM)
    return sorted({str(each[4][0]) for each in found})


def free_ports(request: Request) -> list[int]:
    """Those of the ports on which a server can listen here."""
    return [port for port in request["ports"] if is_free(port)]


def is_free(port: int, address: str = "") -> bool:
    """Tell whether a server can listen on `port` of `address`; empty means all addresses.

    An address that is not of this machine counts as free: it cannot be tested from here.
    """
    try:
        found = socket.getaddrinfo(address or "0.0.0.0", port, type=socket.SOCK_STREAM)  # noqa: S104
    except OSError:
        return True
    family, kind, protocol, _, where = found[0]
    with socket.socket(family, kind, protocol) as server:
        # As torch's store does: without it a port in TIME_WAIT would look busy.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(where)
            server.listen(1)
        except OSError as error:
            return error.errno == errno.EADDRNOTAVAIL
    return True


def storage_problem(request: Request) -> str:
    """Why the storage root is not shared or cannot be written; empty if all is well.

    Reads the token that the launcher wrote there, and writes one that the launcher reads.
    """
    if not request.get("token_folder"):
        return ""
    folder, token = Path(request["token_folder"]), request["token"]
    if not folder.is_dir():
        exists = Path(request["root"]).is_dir()
        return "it is a different folder on this node, not shared" if exists else "not found"
    try:
        if (folder / "launcher").read_text(encoding="utf-8") != token:
            return "it shows old content"
        with (folder / str(request["rank"])).open("x", encoding="utf-8") as file:
            file.write(token)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


QUESTIONS: dict[str, Question] = {
    "host": (host, 3.0),
    "packages": (packages, 5.0),
    "torch_cuda": (torch_cuda, 5.0),
    "code": (code, 5.0),
    "driver": (driver, 3.0),
    "gpus": (gpus, 8.0),
    "free_root": (free_root, 4.0),
    "free_tmp": (free_tmp, 3.0),
    "free_shm": (free_shm, 3.0),
    "interfaces": (interfaces, 3.0),
    "head_name": (head_name, 4.0),
    "free_ports": (free_ports, 3.0),
    "storage_problem": (storage_problem, 5.0),
}
"""Name -> question, and its time limit in seconds."""


def ask_all(request: Request) -> tuple[Request, Request]:
    """Return the answers, and for each missing one the reason; both by the question's name."""
    answers: queue.Queue[tuple[str, bool, Any]] = queue.Queue()
    for name, (question, _) in QUESTIONS.items():
        thread = threading.Thread(target=_ask, args=(name, question, request, answers))
        thread.daemon = True  # a thread that waits for a dead file server cannot be ended
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


def answer(request: Request) -> Request:
    """Answer all questions, with the times by our clock when we began and ended."""
    began = time.time()
    facts, problems = ask_all(request)
    facts.update(facts.pop("host", {}))
    return {"began": began, "ended": time.time(), "facts": facts, "problems": problems}


def main() -> None:
    """Answer one request."""
    sys.stdout.write(json.dumps(answer(json.load(sys.stdin))))
    sys.stdout.flush()
    os._exit(0)  # threads that still wait must not delay the answer


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


def _gpus_of_driver() -> Iterator[Request]:
    """A container can have GPUs and no nvidia-smi."""
    for number, folder in enumerate(sorted(_DRIVER.glob("gpus/*"))):
        lines = _line(f"{folder}/information").splitlines()
        fields = {
            key.strip(): value.strip() for key, _, value in (each.partition(":") for each in lines)
        }
        yield {
            "index": str(number),
            "uuid": fields.get("GPU UUID", ""),
            "name": fields.get("Model", "GPU"),
            "pids": [],
        }


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
    # `eth0:1` is an old way to name a second address of eth0
    return {"name": name.partition(":")[0], "address": address, "prefix": ones.count("1")}


if __name__ == "__main__":
    main()
