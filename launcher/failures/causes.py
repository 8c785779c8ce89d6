"""What exceptions and signals mean, in one table: the sentence to say and the next step.

Matched top to bottom, by the class name and the text of an exception. A new row needs a case in
the failure corpus of the tests.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class FailureKind(StrEnum):
    """Kinds of failure that have a sentence and a next step of their own."""

    EXCEPTION = "exception"
    OUT_OF_MEMORY = "out_of_memory"
    """The kernel or somebody else sent SIGKILL, which nearly always is memory."""
    CUDA_OUT_OF_MEMORY = "cuda_out_of_memory"
    CUDA_UNAVAILABLE = "cuda_unavailable"
    CUDA_ERROR = "cuda_error"
    DISK_FULL = "disk_full"
    SHARED_MEMORY = "shared_memory"
    """SIGBUS: /dev/shm was full."""
    SEGFAULT = "segfault"
    TERMINATED = "terminated"
    """SIGTERM or another signal from outside, without a save."""
    SIGNALLED = "signalled"
    MODULE_MISSING = "module_missing"
    FILE_MISSING = "file_missing"
    PORT_IN_USE = "port_in_use"
    RENDEZVOUS = "rendezvous"
    NOT_FINITE = "not_finite"
    CHECKPOINT = "checkpoint"
    NO_CHECKPOINT = "no_checkpoint"
    """Some were committed, and none of them can be read."""
    CONFIG = "config"
    CONNECTION = "connection"
    """Another rank went away; the cause when nobody else says anything better."""
    HANG = "hang"
    AGENT_LOST = "agent_lost"
    NODE_LOST = "node_lost"
    """A whole machine went away, or cannot be reached any more."""
    EXIT_CODE = "exit_code"
    """It left with a code and no exception."""
    NEVER_STARTED = "never_started"


@dataclass(frozen=True, kw_only=True)
class FirstFailure:
    """What broke first, where, and what to do."""

    kind: FailureKind
    at: float
    """Seconds since the epoch; 0 when nobody knows."""
    attempt: int
    rank: int | None
    """None when a node's agent failed, not a rank."""
    node_rank: int
    node: str
    sentence: str
    """What happened, in plain words."""
    next_step: str
    """What to do about it."""
    detail: str = ""
    """Cleaned traceback, stack of the hung rank, or last lines of the log."""
    others: tuple[str, ...] = ()
    """The other ranks' failures, folded: one line per kind."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One row: what it is called, said and done about."""

    kind: FailureKind
    sentence: str
    """Goes on from "rank 3 "."""
    next_step: str


@dataclass(frozen=True, kw_only=True)
class _Row:
    cause: Cause
    kinds: str = ""
    """Pattern that must match in the class name; empty matches all."""
    text: str = ""
    """Pattern that must match in the message, ignoring case; empty matches all."""

    def matches(self, kind: str, text: str) -> bool:
        return bool(re.search(self.kinds, kind) and re.search(self.text, text, re.IGNORECASE))


def _row(
    kind: FailureKind, sentence: str, next_step: str, *, kinds: str = "", text: str = ""
) -> _Row:
    cause = Cause(kind=kind, sentence=sentence, next_step=next_step)
    return _Row(cause=cause, kinds=kinds, text=text)


_FREE_MEMORY = (
    "`dmesg | grep -i oom` says whether the kernel did it; then use less: a smaller "
    "train.micro_batch_size=, fewer ranks per machine, fewer data-loader workers"
)
_SHM = (
    "shared memory (`df -h /dev/shm`) is full: delete what is left over there, give the "
    "container more (--shm-size=1g), or use fewer data-loader workers"
)
_SEGFAULT = (
    "the stack in the rank's log shows where; a library built for another version of torch, "
    "CUDA or the C++ runtime is the usual reason"
)
_NETWORK = (
    "check that the nodes reach the head's address and port, and which network interface they use"
)

LOST_PEER = Cause(
    kind=FailureKind.CONNECTION,
    sentence="lost its connection to the other ranks, and none of them says why",
    next_step="look into the logs of all nodes around that time (`python -m launcher logs`), "
    "and at the network",
)
"""What a rank says when another one is gone."""


START_FAILED = Cause(
    kind=FailureKind.NODE_LOST,
    sentence="could not be started together with the other nodes",
    next_step="look at the nodes that are named above, and at their network",
)


def lost_node(why: str) -> Cause:
    """Return what it means that a node went away."""
    return Cause(
        kind=FailureKind.NODE_LOST,
        sentence=f"was lost: {why}",
        next_step="look at the machine and its network. A restart goes on without it, on spares "
        "(cluster.spares=) or on fewer nodes, down to cluster.min_nodes=",
    )


_EXCEPTIONS: tuple[_Row, ...] = (
    _row(
        FailureKind.CUDA_OUT_OF_MEMORY,
        "ran out of GPU memory",
        "a smaller train.micro_batch_size= keeps the result the same; `nvidia-smi` shows who else "
        "uses the device",
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
        "`nvidia-smi` on that node shows driver and devices; device=cpu runs without",
        text=r"No CUDA GPUs are available|Found no NVIDIA driver|CUDA driver initialization failed|"
        r"not compiled with CUDA|given a GPU but sees none|CUDA driver version is insufficient|"
        r"CUDA unknown error|cudaErrorNoDevice|no CUDA-capable device",
    ),
    _row(
        FailureKind.EXCEPTION,
        "hit an assertion on the GPU; usually a label or token id is out of range",
        "run it with env.CUDA_LAUNCH_BLOCKING=1, or with device=cpu, to see the true line",
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
        "lost a data-loader worker to SIGKILL: most probably the machine ran out of memory",
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
        "look for `Xid` in `dmesg` and at `nvidia-smi -q -d ECC`; if it comes again on the same "
        "node, leave that node out",
        text=r"CUDA error|cuDNN error|CUBLAS_STATUS|uncorrectable ECC|cudaError",
    ),
    _row(
        FailureKind.MODULE_MISSING,
        "cannot import a module",
        "install it in the environment that runs the ranks, the same on every node",
        kinds=r"ModuleNotFoundError|ImportError",
    ),
    _row(
        FailureKind.NO_CHECKPOINT,
        "cannot read any of the checkpoints",
        "bring the files back that are named above; `python -m launcher checkpoints verify` tells "
        "when they are whole again",
        kinds=r"CheckpointError",
        text=r"none can be read|none of them is left",
    ),
    _row(
        FailureKind.CHECKPOINT,
        "cannot read or write a checkpoint",
        "`python -m launcher checkpoints verify` says which are whole; resume=<step> picks one",
        kinds=r"CheckpointError|GenerationTaken",
    ),
    _row(
        FailureKind.CONFIG,
        "was told something impossible",
        "change the setting that the message names",
        kinds=r"launcher\.errors\.(ConfigError|UnknownNameError|EngineMissingError)",
    ),
    _row(
        FailureKind.FILE_MISSING,
        "did not find a file",
        "check the path; a relative one starts where the launcher was started, and every node "
        "must see it",
        kinds=r"FileNotFoundError|NotADirectoryError",
    ),
    _row(
        FailureKind.PORT_IN_USE,
        "could not take its port: somebody else has it",
        "leave cluster.port= out, so that a free one is taken; `ss -ltnp` shows who listens",
        text=r"address already in use|EADDRINUSE",
    ),
    _row(
        FailureKind.NOT_FINITE,
        "met a loss that is not a number",
        "lower train.lr=, lengthen train.warmup_ratio=, check train.max_grad_norm=; on a GPU try "
        "train.precision=fp32; and look at the batch of that step",
        kinds=r"FloatingPointError|ValueError|RuntimeError|AssertionError|ArithmeticError",
        text=r"\bnan\b|\binf\b|non-?finite|not finite|infinite",
    ),
    _row(
        FailureKind.RENDEZVOUS,
        "could not meet the other ranks",
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
        "was interrupted from outside",
        "somebody sent it SIGINT; to end a run in order use `python -m launcher stop`",
        kinds=r"^KeyboardInterrupt$",
    ),
)

_PLAIN = Cause(
    kind=FailureKind.EXCEPTION,
    sentence="failed",
    next_step="the last lines of the traceback name the place in the program",
)

_SIGNALS: Mapping[int, Cause] = MappingProxyType(
    {
        signal.SIGKILL: Cause(
            kind=FailureKind.OUT_OF_MEMORY,
            sentence="was killed with SIGKILL from outside the program: "
            "most probably by the kernel, because memory ran out",
            next_step=_FREE_MEMORY,
        ),
        signal.SIGSEGV: Cause(
            kind=FailureKind.SEGFAULT,
            sentence="died of SIGSEGV: native code touched memory that is not its own",
            next_step=_SEGFAULT,
        ),
        signal.SIGBUS: Cause(
            kind=FailureKind.SHARED_MEMORY,
            sentence="died of SIGBUS: most probably shared memory is full",
            next_step=_SHM,
        ),
        signal.SIGABRT: Cause(
            kind=FailureKind.SIGNALLED,
            sentence="aborted itself (SIGABRT): a native library gave up",
            next_step="the lines above the stack in the rank's log say which one and why",
        ),
        signal.SIGFPE: Cause(
            kind=FailureKind.SIGNALLED,
            sentence="died of SIGFPE: native code divided by zero",
            next_step=_SEGFAULT,
        ),
        signal.SIGILL: Cause(
            kind=FailureKind.SIGNALLED,
            sentence="died of SIGILL: a library was built for another processor",
            next_step="install builds that fit this machine's processor",
        ),
        signal.SIGTERM: Cause(
            kind=FailureKind.TERMINATED,
            sentence="was ended with SIGTERM from outside, and the program did not save",
            next_step="somebody or the batch system ended it: look there; to end a run in order "
            "use `python -m launcher stop`",
        ),
    }
)


def of_exception(kind: str, message: str, traceback: str = "") -> Cause:
    """Return what an exception means; the traceback helps where the message is wrapped."""
    for text in (message, _last_line(traceback)):
        for row in _EXCEPTIONS:
            if row.matches(kind, f"{kind}: {text}"):
                return row.cause
    return _PLAIN


def of_signal(number: int) -> Cause:
    """Return what dying of a signal means."""
    return _SIGNALS.get(number) or Cause(
        kind=FailureKind.SIGNALLED,
        sentence=f"was ended by {signal_name(number)}",
        next_step="find out who sends that signal; the rank's log may say more",
    )


def of_exit_code(code: int) -> Cause:
    """Return what leaving with a code and without an exception means."""
    if code == 2:
        return Cause(
            kind=FailureKind.CONFIG,
            sentence="left with exit code 2, as programs do that refuse their arguments",
            next_step="the last lines of its log say which one; args= of the command sets them",
        )
    return Cause(
        kind=FailureKind.EXIT_CODE,
        sentence=f"left with exit code {code} and no exception",
        next_step="the last lines of its log are above; the program or a library of it called exit",
    )


def signal_name(number: int) -> str:
    """Return `SIGKILL` for 9, and something readable for numbers without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(traceback: str) -> str:
    lines = [line for line in traceback.splitlines() if line and not line.startswith(" ")]
    return lines[-1] if lines else ""
