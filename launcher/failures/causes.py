"""What exceptions, signals and exit codes mean: one table with a sentence and the next step.

Rows are matched from top to bottom, by class name and message of an exception. A new row needs a
case in the failure corpus of the tests.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from launcher import processes


class FailureKind(StrEnum):
    """Kinds of failures, by what to do about them."""

    EXCEPTION = "exception"
    OUT_OF_MEMORY = "out_of_memory"
    """SIGKILL from outside, which nearly always means that memory ran out."""
    CUDA_OUT_OF_MEMORY = "cuda_out_of_memory"
    CUDA_UNAVAILABLE = "cuda_unavailable"
    CUDA_ERROR = "cuda_error"
    DISK_FULL = "disk_full"
    SHARED_MEMORY = "shared_memory"
    """SIGBUS, because /dev/shm was full."""
    SEGFAULT = "segfault"
    TERMINATED = "terminated"
    """SIGTERM or SIGINT from outside, and no checkpoint was saved."""
    SIGNALLED = "signalled"
    MODULE_MISSING = "module_missing"
    FILE_MISSING = "file_missing"
    PORT_IN_USE = "port_in_use"
    RENDEZVOUS = "rendezvous"
    UNTRUSTED = "untrusted"
    """Another program wrote to the ports of the run."""
    NOT_FINITE = "not_finite"
    CHECKPOINT = "checkpoint"
    NO_CHECKPOINT = "no_checkpoint"
    """Checkpoints were committed, but none can be read."""
    CONFIG = "config"
    CONNECTION = "connection"
    """Another rank ended. The root cause only if nothing better is known."""
    HANG = "hang"
    AGENT_LOST = "agent_lost"
    NODE_LOST = "node_lost"
    """A machine went down or cannot be reached."""
    EXIT_CODE = "exit_code"
    """It exited with a code and without an exception."""
    NEVER_STARTED = "never_started"


@dataclass(frozen=True, kw_only=True)
class FirstFailure:
    """The root cause of a failed attempt: what happened, where, and what to do."""

    kind: FailureKind
    at: float
    """Seconds since the epoch, 0 if unknown."""
    attempt: int
    rank: int | None
    """None if a node or its agent failed, not a rank."""
    node_rank: int
    node: str
    sentence: str
    """What happened, starting with the rank or node."""
    next_step: str
    """What to do about it."""
    detail: str = ""
    """Traceback, stack of the hung rank, or last lines of the log."""
    others: tuple[str, ...] = ()
    """The failures of the other ranks, one line per kind."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What a failure means."""

    kind: FailureKind
    sentence: str
    """Continues "rank 3 (host1) "."""
    next_step: str


@dataclass(frozen=True, kw_only=True)
class _Row:
    cause: Cause
    kinds: str = ""
    """Pattern to find in the class name; empty matches all."""
    text: str = ""
    """Pattern to find in the message, ignoring case; empty matches all."""

    def matches(self, kind: str, text: str) -> bool:
        return bool(re.search(self.kinds, kind) and re.search(self.text, text, re.IGNORECASE))


def _row(
    kind: FailureKind, sentence: str, next_step: str, *, kinds: str = "", text: str = ""
) -> _Row:
    cause = Cause(kind=kind, sentence=sentence, next_step=next_step)
    return _Row(cause=cause, kinds=kinds, text=text)


_FREE_MEMORY = (
    "`dmesg | grep -i oom` shows whether the kernel killed it. Then use less memory: a smaller "
    "train.micro_batch_size=, fewer ranks per machine, or fewer data-loader workers"
)
_SHM = (
    "delete old files in shared memory (`df -h /dev/shm`), give the container more "
    "(--shm-size=1g), or use fewer data-loader workers"
)
_SEGFAULT = (
    "the stack in the log of the rank shows where. Usually a library was built for another version "
    "of torch, CUDA or the C++ runtime"
)
_NETWORK = (
    "check that all nodes can connect to this address and port, and that they use the right "
    "network interface"
)

LOST_PEER = Cause(
    kind=FailureKind.CONNECTION,
    sentence="lost its connection to the other ranks, and none of them reported why",
    next_step="read the logs of all nodes at that time, and check the network",
)
"""What a rank reports if another one has ended."""


START_FAILED = Cause(
    kind=FailureKind.NODE_LOST,
    sentence="could not be started together with the other nodes",
    next_step="check the nodes named above and their network",
)


def lost_node(why: str) -> Cause:
    """Return what the loss of a node means."""
    return Cause(
        kind=FailureKind.NODE_LOST,
        sentence=f"was lost: {why}",
        next_step="check the machine and its network. A restart continues without it, on spares "
        "(cluster.spares=) or on fewer nodes, but at least cluster.min_nodes=",
    )


_EXCEPTIONS: tuple[_Row, ...] = (
    _row(
        FailureKind.UNTRUSTED,
        "refused what another program sent",
        "find that program with `ss -tnp` on the nodes; docs/ports.md lists the ports of a run. If "
        "you start ranks yourself, give all of them the same LAUNCHER_RUN_SECRET",
        text=r"it does not come from a rank of this attempt",
    ),
    _row(
        FailureKind.CUDA_OUT_OF_MEMORY,
        "ran out of GPU memory",
        "use a smaller train.micro_batch_size=, which does not change the result; `nvidia-smi` "
        "shows other processes on the GPU",
        kinds=r"OutOfMemoryError|RuntimeError|AcceleratorError",
        text=r"CUDA out of memory|HIP out of memory|CUBLAS_STATUS_ALLOC_FAILED",
    ),
    _row(
        FailureKind.DISK_FULL,
        "could not write: the disk is full",
        "free space (`df -h`), keep fewer checkpoints (checkpoint.keep=2), then resume",
        text=r"No space left on device|ENOSPC|Errno 28\b|Disk quota exceeded|Errno 122\b|"
        r"\b(disk|file system|storage) is full\b|\bdisk full\b|not enough (disk )?space",
    ),
    _row(
        FailureKind.CUDA_UNAVAILABLE,
        "was given a GPU but cannot use one",
        "check driver and GPUs with `nvidia-smi` on that node, or use device=cpu",
        text=r"No CUDA GPUs are available|Found no NVIDIA driver|CUDA driver initialization failed|"
        r"not compiled with CUDA|given a GPU but sees none|CUDA driver version is insufficient|"
        r"CUDA unknown error|cudaErrorNoDevice|no CUDA-capable device",
    ),
    _row(
        FailureKind.EXCEPTION,
        "failed an assertion on the GPU; usually a label or token id is out of range",
        "run it with env.CUDA_LAUNCH_BLOCKING=1 or device=cpu to see the line that caused it",
        text=r"device-side assert",
    ),
    _row(
        FailureKind.SHARED_MEMORY,
        "lost a data-loader worker to SIGBUS: shared memory is full",
        _SHM,
        text=r"worker.*(Bus error|insufficient shared memory)|out of shared memory|"
        r"unable to (write|mmap|resize).*shm|/torch_.*No space",
    ),
    _row(
        FailureKind.OUT_OF_MEMORY,
        "lost a data-loader worker to SIGKILL: probably the machine ran out of memory",
        _FREE_MEMORY,
        text=r"worker.*killed by signal: Killed",
    ),
    _row(
        FailureKind.SEGFAULT,
        "lost a data-loader worker to a segmentation fault",
        _SEGFAULT,
        text=r"worker.*killed by signal: Segmentation fault",
    ),
    _row(
        FailureKind.CUDA_ERROR,
        "got an error from its GPU",
        "look for `Xid` in `dmesg`, and at `nvidia-smi -q -d ECC`. If it happens again on that "
        "node, exclude it with cluster.exclude=",
        text=r"CUDA error|cuDNN error|CUBLAS_STATUS|uncorrectable ECC|cudaError",
    ),
    _row(
        FailureKind.MODULE_MISSING,
        "is part of a package, but was started as a file",
        "start it as a module, as after `python -m`: module=pkg.train, not script=pkg/train.py",
        kinds=r"ImportError",
        text=r"attempted relative import|__main__\.__spec__ is None",
    ),
    _row(
        FailureKind.MODULE_MISSING,
        "cannot import a module",
        "if it is part of your project, use module=pkg.train, which finds what `python -m` finds, "
        "or set PYTHONPATH; else install it on every node, in the environment of the ranks",
        kinds=r"ModuleNotFoundError|ImportError",
    ),
    _row(
        FailureKind.NO_CHECKPOINT,
        "cannot read any of the checkpoints",
        "restore the files listed above, then run `checkpoints verify`",
        kinds=r"CheckpointError",
        text=r"none can be read|none of them is left",
    ),
    _row(
        FailureKind.CHECKPOINT,
        "cannot read or write a checkpoint",
        "find an intact checkpoint with `checkpoints verify`, and select it with resume=STEP",
        kinds=r"CheckpointError|GenerationTaken",
    ),
    _row(
        FailureKind.CONFIG,
        "got an invalid setting",
        "change the setting named in the message",
        kinds=r"launcher\.errors\.(ConfigError|UnknownNameError|EngineMissingError)",
    ),
    _row(
        FailureKind.FILE_MISSING,
        "did not find a file",
        "check the path. A relative path starts in the folder where the launcher was started, and "
        "every node must see it",
        kinds=r"FileNotFoundError|NotADirectoryError",
    ),
    _row(
        FailureKind.PORT_IN_USE,
        "could not open its port: another process uses it",
        "omit cluster.port= to use a free port; `ss -ltnp` shows the process that uses this one",
        text=r"address already in use|EADDRINUSE",
    ),
    _row(
        FailureKind.NOT_FINITE,
        "stopped because the loss became NaN or infinite",
        "lower train.lr=, raise train.warmup_ratio=, check train.max_grad_norm= and the batch of "
        "that step; on a GPU try train.precision=fp32",
        kinds=r"FloatingPointError|ValueError|RuntimeError|AssertionError|ArithmeticError",
        text=r"\bnan\b|\binf\b|non-?finite|not finite|infinite",
    ),
    _row(
        FailureKind.RENDEZVOUS,
        "could not connect to the rendezvous address",
        _NETWORK,
        text=r"connection refused|rendezvous|client socket has timed out|failed to connect to|"
        r"waiting for clients|store.*timed? ?out|Unable to find address|no route to host|"
        r"makeDeviceForHostname|Name or service not known",
    ),
    _Row(
        cause=LOST_PEER,
        kinds=r"RuntimeError|Connection\w*Error|BrokenPipeError|EOFError|TimeoutError|Dist\w*Error|"
        r"OSError|socket\.",
        text=r"connection (was )?(reset|closed|aborted|lost)|broken pipe|reset by peer|"
        r"closed by peer|gloo|nccl|ProcessGroup|peer (closed|left|is gone)|Socket closed|"
        r"collective|Timed out waiting|barrier|remote process|unexpected (eof|end of)",
    ),
    _Row(
        cause=LOST_PEER,
        kinds=r"ConnectionResetError|ConnectionAbortedError|BrokenPipeError|DistNetworkError|"
        r"DistStoreError|DistBackendError",
    ),
    _Row(cause=LOST_PEER, kinds=r"HorovodInternalError"),
    _Row(cause=LOST_PEER, kinds=r"TrainingError", text=r"barrier (timed out|failed)"),
    _row(
        FailureKind.OUT_OF_MEMORY,
        "ran out of memory",
        _FREE_MEMORY,
        kinds=r"^MemoryError$",
    ),
    _row(
        FailureKind.TERMINATED,
        "received SIGINT from outside",
        "find out what sent it. To end a run gracefully, use `stop`",
        kinds=r"^KeyboardInterrupt$",
    ),
)

_FLUSH_FAILED = 120
"""Exit code of a Python interpreter that cannot flush its streams at the end."""

_PLAIN = Cause(
    kind=FailureKind.EXCEPTION,
    sentence="failed",
    next_step="the end of the traceback shows where in the program",
)

_SIGNALS: Mapping[int, Cause] = MappingProxyType(
    {
        signal.SIGKILL: Cause(
            kind=FailureKind.OUT_OF_MEMORY,
            sentence="was killed by SIGKILL from outside: probably by the kernel, because memory "
            "ran out",
            next_step=_FREE_MEMORY,
        ),
        signal.SIGSEGV: Cause(
            kind=FailureKind.SEGFAULT,
            sentence="was ended by SIGSEGV: native code used invalid memory",
            next_step=_SEGFAULT,
        ),
        signal.SIGBUS: Cause(
            kind=FailureKind.SHARED_MEMORY,
            sentence="was ended by SIGBUS: probably shared memory is full",
            next_step=_SHM,
        ),
        signal.SIGABRT: Cause(
            kind=FailureKind.SIGNALLED,
            sentence="was ended by SIGABRT: a native library aborted",
            next_step="the lines above the stack in the log of the rank say which one and why",
        ),
        signal.SIGFPE: Cause(
            kind=FailureKind.SIGNALLED,
            sentence="was ended by SIGFPE: native code divided by zero",
            next_step=_SEGFAULT,
        ),
        signal.SIGILL: Cause(
            kind=FailureKind.SIGNALLED,
            sentence="was ended by SIGILL: a library was built for another processor",
            next_step="install builds for the processor of this machine",
        ),
        signal.SIGTERM: Cause(
            kind=FailureKind.TERMINATED,
            sentence="was ended by SIGTERM from outside, and the program did not save",
            next_step="find out what sent it, for example the batch system. To end a run "
            "gracefully, use `stop`",
        ),
    }
)


def of_exception(kind: str, message: str, traceback: str = "") -> Cause:
    """Return what an exception means. The last line of `traceback` counts too."""
    for text in (message, _last_line(traceback)):
        for row in _EXCEPTIONS:
            if row.matches(kind, f"{kind}: {text}"):
                return row.cause
    return _PLAIN


def of_signal(number: int) -> Cause:
    """Return what a process that was ended by a signal means."""
    return _SIGNALS.get(number) or Cause(
        kind=FailureKind.SIGNALLED,
        sentence=f"was ended by {processes.signal_name(number)}",
        next_step="find out what sent that signal; the log of the rank may say more",
    )


def of_exit_code(code: int) -> Cause:
    """Return what an exit code without an exception means."""
    if code == 2:
        return Cause(
            kind=FailureKind.CONFIG,
            sentence="exited with code 2, as programs do for invalid arguments",
            next_step="the last lines of its log say which argument; args= sets them",
        )
    if code == _FLUSH_FAILED:
        return Cause(
            kind=FailureKind.EXIT_CODE,
            sentence="ended, but Python could not flush stdout or stderr (exit code 120)",
            next_step="if the program replaces sys.stdout or sys.stderr, its object needs a "
            "`flush` that works; else check the disk of the log",
        )
    return Cause(
        kind=FailureKind.EXIT_CODE,
        sentence=f"exited with code {code} and without an exception",
        next_step="see the last lines of its log above: the program or one of its libraries called "
        "exit",
    )


def _last_line(traceback: str) -> str:
    lines = [line for line in traceback.splitlines() if line and not line.startswith(" ")]
    return lines[-1] if lines else ""
