"""The failure corpus: run folders as failures leave them, and what must be named first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from launcher.failures import FailureKind as Kind
from launcher.failures import first_failure, why
from launcher.runs import events
from launcher.specs import RankState
from tests.run_folder import RunFolder

CLOSED = "[/pytorch/third_party/gloo/pair.cc:534] Connection closed by peer [127.0.0.1]:3921"
RESET = "Connection reset by peer"
STACK_OF_A_LOADER = """step 7
Thread 0x00007f0000000001 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 331 in wait
  File "/usr/lib/python3.11/threading.py", line 1002 in _bootstrap

Current thread 0x00007f0000000002 (most recent call first):
  File "/home/me/data.py", line 77 in read_shard
  File "/home/me/train.py", line 20 in main
  File "/x/launcher/runtime/shim.py", line 60 in _execute
"""
STACK_OF_A_WAITER = """Current thread 0x00007f0000000002 (most recent call first):
  File "/v/torch/distributed/distributed_c10d.py", line 2800 in all_reduce
  File "/home/me/train.py", line 31 in main
"""


@dataclass(frozen=True)
class Case:
    name: str
    build: Callable[[RunFolder], object]
    kind: Kind
    rank: int | None
    says: str = ""
    next_step: str = ""
    others: int = 0


def peers_lose(folder: RunFolder, *ranks: int, at: float = 10.05) -> RunFolder:
    for rank in ranks:
        folder.raised(rank, "RuntimeError", f"{CLOSED}{rank}", at=at)
    return folder


CORPUS = [
    Case(
        "a plain exception with three peers that lose their connection",
        lambda f: peers_lose(f.raised(2, "KeyError", "'label'"), 0, 1, 3),
        Kind.EXCEPTION,
        2,
        "KeyError: 'label'",
        others=1,
    ),
    Case(
        "peers whose connection errors stand there before the agent notes the SIGKILL",
        lambda f: peers_lose(f.signalled(3, 9, at=11), 0, 1, 2, at=10.0),
        Kind.OUT_OF_MEMORY,
        3,
        "SIGKILL",
        "dmesg",
        others=1,
    ),
    Case(
        "peers under Horovod, which calls every loss of a peer a shutdown",
        lambda f: f.signalled(1, 9, at=11).raised(
            0,
            "horovod.common.exceptions.HorovodInternalError",
            "Horovod has been shut down. This was caused by an exception on one of the ranks",
            at=10.0,
        ),
        Kind.OUT_OF_MEMORY,
        1,
        "SIGKILL",
        others=1,
    ),
    Case(
        "a peer that waited in a barrier of ours",
        lambda f: f.signalled(1, 9, at=11).raised(
            0,
            "launcher.errors.TrainingError",
            "barrier failed: not all ranks reached it\nrank 0 reached it",
            at=10.0,
        ),
        Kind.OUT_OF_MEMORY,
        1,
        "SIGKILL",
        others=1,
    ),
    Case(
        "a segmentation fault",
        lambda f: peers_lose(f.signalled(1, 11, at=10.5), 0, 2, 3),
        Kind.SEGFAULT,
        1,
        "SIGSEGV",
        others=1,
    ),
    Case("SIGBUS", lambda f: f.signalled(0, 7), Kind.SHARED_MEMORY, 0, "SIGBUS", "/dev/shm"),
    Case("SIGABRT of a native library", lambda f: f.signalled(0, 6), Kind.SIGNALLED, 0, "SIGABRT"),
    Case("a signal without a row of its own", lambda f: f.signalled(0, 31), Kind.SIGNALLED, 0),
    Case(
        "an NCCL watchdog's abort is a consequence of the exception elsewhere",
        lambda f: (
            f.signalled(0, 6, at=9)
            .log(0, "[rank0]: Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7)\n")
            .raised(1, "ValueError", "bad sample", at=10)
        ),
        Kind.EXCEPTION,
        1,
        "bad sample",
        others=1,
    ),
    Case(
        "SIGTERM from outside to one rank of a script that cannot save",
        lambda f: f.rank(2, state=RankState.FAILED, exit_code=143, signal=15, at=9.9),
        Kind.TERMINATED,
        2,
        "SIGTERM from outside",
    ),
    Case(
        "siblings that their agent ended with SIGTERM after an exception",
        lambda f: (
            f.rank(0, state=RankState.FAILED, exit_code=143, signal=15, at=15)
            .raised(1, "ZeroDivisionError", "division by zero", at=10)
            .rank(2, state=RankState.FAILED, signal=9, at=17)
            .stopped(at=12)
        ),
        Kind.EXCEPTION,
        1,
        "ZeroDivisionError",
        others=2,
    ),
    Case(
        "GPU memory",
        lambda f: peers_lose(
            f.raised(
                1,
                "torch.OutOfMemoryError",
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...",
            ),
            0,
        ),
        Kind.CUDA_OUT_OF_MEMORY,
        1,
        "ran out of GPU memory",
        "train.micro_batch_size=",
        others=1,
    ),
    Case(
        "a full disk under a checkpoint error",
        lambda f: f.raised(
            0,
            "launcher.errors.CheckpointError",
            "cannot write the checkpoint of step 40\n[Errno 28] No space left on device",
        ),
        Kind.DISK_FULL,
        0,
        "disk is full",
        "df -h",
    ),
    Case(
        "a checkpoint that was seen not to fit before it was written",
        lambda f: f.raised(
            0,
            "launcher.errors.CheckpointError",
            "disk full: the checkpoint of step 6 needs 12.5 MiB, 2.3 MiB is free\n/data/x",
        ),
        Kind.DISK_FULL,
        0,
        "disk is full",
        "df -h",
    ),
    Case(
        "checkpoints that cannot be read",
        lambda f: f.raised(
            0, "launcher.errors.CheckpointError", "2 commits are there but none can be read"
        ),
        Kind.NO_CHECKPOINT,
        0,
        "cannot read any of the checkpoints",
        "checkpoints verify",
    ),
    Case(
        "checkpoints of which no commit is left",
        lambda f: f.raised(
            0,
            "launcher.errors.CheckpointError",
            "checkpoints were written, but none of them is left to resume from",
        ),
        Kind.NO_CHECKPOINT,
        0,
    ),
    Case(
        "a checkpoint that is of another model",
        lambda f: f.raised(
            0, "launcher.errors.CheckpointError", "the checkpoint of step 6 is of another model"
        ),
        Kind.CHECKPOINT,
        0,
        "checkpoint",
        "checkpoints verify",
    ),
    Case(
        "the same missing module on all ranks",
        lambda f: [
            f.raised(rank, "ModuleNotFoundError", "No module named 'apex'", at=5 + rank / 100)
            for rank in (3, 2, 1, 0)
        ],
        Kind.MODULE_MISSING,
        0,
        "cannot import a module",
        "install it",
        others=1,
    ),
    Case(
        "a file of a package that was started as a script",
        lambda f: f.raised(
            0, "ImportError", "attempted relative import with no known parent package"
        ),
        Kind.MODULE_MISSING,
        0,
        "is part of a package, but was started as a file",
        "module=pkg.train, not script=pkg/train.py",
    ),
    Case(
        "a missing file",
        lambda f: f.raised(3, "FileNotFoundError", "[Errno 2] No such file: 'x.json'"),
        Kind.FILE_MISSING,
        3,
        "did not find a file",
    ),
    Case(
        "a loss that is not a number",
        lambda f: f.raised(0, "FloatingPointError", "loss is nan at step 12"),
        Kind.NOT_FINITE,
        0,
        "NaN or infinite",
        "train.lr=",
    ),
    Case(
        "a port that is taken, told by the head's agent before any rank lives",
        lambda f: (
            f.gone(0, 1, 2, 3)
            .agent_log(
                0,
                "Traceback (most recent call last):\n  File 'a.py'\n"
                "torch.distributed.DistNetworkError: The server socket has failed to listen on any "
                "local network address. port: 23456, message: address already in use\n",
            )
            .agent(0, 1, at=3)
            .agent_log(
                1,
                "Traceback (most recent call last):\n"
                "torch.distributed.DistNetworkError: The client socket has timed out after 60s\n",
            )
            .agent(1, 1, at=2)
        ),
        Kind.PORT_IN_USE,
        None,
        "node 0",
        "cluster.port=",
        others=1,
    ),
    Case(
        "a refused rendezvous and nobody else to blame",
        lambda f: f.raised(
            1,
            "torch.distributed.DistNetworkError",
            "The client socket has failed to connect to any network address of (head, 29500)",
        ),
        Kind.RENDEZVOUS,
        1,
        "could not connect to the rendezvous address",
    ),
    Case(
        "an address in the rendezvous that another program wrote",
        lambda f: f.raised(
            1,
            "launcher.errors.TrainingError",
            "refused the value of `0//cpu//0/0` in the rendezvous store: it does not come from a "
            "rank of this attempt",
        ),
        Kind.UNTRUSTED,
        1,
        "refused what another program sent",
        "docs/ports.md",
    ),
    Case(
        "a timed out rendezvous because a rank never got there",
        lambda f: f.raised(
            0, "torch.distributed.DistStoreError", "Timed out ... store", at=9
        ).raised(1, "ImportError", "libcudart.so.12: cannot open shared object file", at=12),
        Kind.MODULE_MISSING,
        1,
        others=1,
    ),
    Case(
        "a lost agent, whose rank says nothing, while the peers lose their connection",
        lambda f: peers_lose(f.agent(2, -9, at=10.1), 0, 1, 3, at=10.0),
        Kind.AGENT_LOST,
        None,
        "node 2 (local2) lost its agent to SIGKILL",
        others=1,
    ),
    Case(
        "a lost node, found long after its peers failed in ways that nobody knows",
        lambda f: (
            peers_lose(f, 0, at=10.1)
            .rank(2, at=10.0)
            .raised(1, "ValueError", "the answer of rank 2 makes no sense", at=10.2)
            .stopped(at=12)
            .killed(at=14)
            .lost(2, "no sign of life for 22 s from local2", at=32)
        ),
        Kind.NODE_LOST,
        None,
        "node 2 (local2) was lost: no sign of life for 22 s from local2",
        "cluster.min_nodes=",
        others=2,
    ),
    Case(
        "an exception that came before a node was lost",
        lambda f: f.rank(2, at=11.0).raised(1, "KeyError", "'label'", at=10.0).lost(2, "x", at=32),
        Kind.EXCEPTION,
        1,
        "KeyError",
        others=1,
    ),
    Case(
        "a node that is gone when the next attempt starts",
        lambda f: f.tell(events.StartFailed(at=1e9, why="host2 cannot be reached: no route")),
        Kind.NODE_LOST,
        None,
        "node 0 (local0) could not be started together with the other nodes",
        "named above",
    ),
    Case(
        "an agent that cannot start",
        lambda f: f.gone(1).agent_log(1, "/usr/bin/python: No module named launcher\n").agent(1, 1),
        Kind.NEVER_STARTED,
        None,
        "node 1",
    ),
    Case(
        "ranks that all leave with 2 because of an argument",
        lambda f: [
            f.raised(rank, "SystemExit", "2").log(rank, "usage: train.py\nerror: --lr: bad\n")
            for rank in range(4)
        ],
        Kind.CONFIG,
        0,
        "invalid arguments",
        others=1,
    ),
    Case(
        "an exit code without an exception",
        lambda f: f.rank(1, state=RankState.FAILED, exit_code=3).log(1, "cannot go on\n"),
        Kind.EXIT_CODE,
        1,
        "exited with code 3",
    ),
    Case(
        "an interpreter that could not flush its streams",
        lambda f: f.rank(1, state=RankState.FAILED, exit_code=120),
        Kind.EXIT_CODE,
        1,
        "could not flush stdout or stderr",
        "its object needs a `flush` that works",
    ),
    Case(
        "no GPU where one was promised",
        lambda f: f.raised(0, "RuntimeError", "No CUDA GPUs are available"),
        Kind.CUDA_UNAVAILABLE,
        0,
        "GPU",
        "device=cpu",
    ),
    Case(
        "a broken GPU and its peers",
        lambda f: peers_lose(
            f.raised(2, "torch.AcceleratorError", "CUDA error: uncorrectable ECC error"), 0, 1, 3
        ),
        Kind.CUDA_ERROR,
        2,
        "GPU",
        "Xid",
        others=1,
    ),
    Case(
        "a label out of range on the GPU",
        lambda f: f.raised(0, "RuntimeError", "CUDA error: device-side assert triggered"),
        Kind.EXCEPTION,
        0,
        "out of range",
        "CUDA_LAUNCH_BLOCKING",
    ),
    Case(
        "a data-loader worker that the kernel killed",
        lambda f: f.raised(
            0, "RuntimeError", "DataLoader worker (pid 77) is killed by signal: Killed. "
        ),
        Kind.OUT_OF_MEMORY,
        0,
        "data-loader worker",
    ),
    Case(
        "a data-loader worker without shared memory",
        lambda f: f.raised(
            0,
            "RuntimeError",
            "DataLoader worker (pid 77) is killed by signal: Bus error. It is possible that "
            "dataloader's workers are out of shared memory.",
        ),
        Kind.SHARED_MEMORY,
        0,
        "shared memory",
        "shm-size",
    ),
    Case(
        "a hang in the data of one rank while the others wait in a collective",
        lambda f: [
            *(f.log(rank, STACK_OF_A_WAITER) for rank in (0, 1, 3)),
            f.log(2, STACK_OF_A_LOADER).hung(0).killed(at=702),
        ],
        Kind.HANG,
        2,
        "while the others wait",
        "hang_timeout_s",
    ),
    Case(
        "connection errors only: the first of them, and where to look",
        lambda f: peers_lose(f, 1, 2).raised(3, "ConnectionResetError", RESET, at=9.5),
        Kind.CONNECTION,
        3,
        "none of them reported why",
        others=1,
    ),
    Case(
        "an impossible setting found by the ranks",
        lambda f: f.raised(0, "launcher.errors.ConfigError", "batch 3 cannot be shared by 4"),
        Kind.CONFIG,
        0,
        "got an invalid setting",
    ),
    Case(
        "a rank of which nothing was ever heard",
        lambda f: [f.gone(2), *(f.agent(node, 0) for node in range(4))],
        Kind.NEVER_STARTED,
        2,
    ),
    Case(
        "ranks that we killed because one raised",
        lambda f: (
            f.raised(1, "OSError", "[Errno 5] Input/output error", at=10)
            .stopped(at=12)
            .killed(at=17)
            .signalled(0, 9, at=17.1)
            .agent(2, -9, at=17.1)
            .agent(3, -9, at=17.1)
        ),
        Kind.EXCEPTION,
        1,
        "Input/output error",
        others=1,
    ),
]


@pytest.mark.parametrize("case", CORPUS, ids=[case.name for case in CORPUS])
def test_the_true_cause_is_named_first(folder: RunFolder, case: Case) -> None:
    case.build(folder.begin())
    folder.ended()
    failure = first_failure(folder.layout)
    assert failure is not None
    assert (failure.kind, failure.rank) == (case.kind, case.rank)
    assert case.says in failure.sentence
    assert case.next_step in failure.next_step
    assert len(failure.others) == case.others, failure.others
    text = why(folder.layout)
    lines = text.splitlines()
    assert len(lines) <= 40
    assert "FIRST FAILURE" in lines[2]
    assert failure.sentence.split(":")[0].split()[0] in lines[3]
    assert "WHAT TO DO" in text
    assert all(len(line) <= 120 or str(folder.layout.path.parents[1]) in line for line in lines), (
        text
    )


def test_the_corpus_covers_every_kind_of_failure() -> None:
    assert {case.kind for case in CORPUS} == set(Kind)


def test_a_run_in_which_nothing_failed_has_no_first_failure(folder: RunFolder) -> None:
    folder.begin()
    assert first_failure(folder.layout) is None
    for rank in range(4):
        folder.rank(rank, state=RankState.DONE)
    folder.ended("done")
    assert first_failure(folder.layout) is None
    assert "Nothing failed" in why(folder.layout)


def test_ranks_that_were_asked_to_stop_and_left_are_no_failure(folder: RunFolder) -> None:
    folder.begin().stopped(at=9, by="me@here")
    for rank in range(4):
        folder.rank(rank, state=RankState.FAILED, exit_code=143, signal=15, at=9.5)
        folder.agent(rank, 143, at=10)
    assert first_failure(folder.layout) is None


def test_the_attempt_can_be_chosen(folder: RunFolder) -> None:
    folder.begin(attempt=1).raised(1, "ValueError", "first").ended()
    folder.begin(attempt=2).raised(2, "KeyError", "second").ended()
    for attempt, rank in ((1, 1), (2, 2), (0, 2)):
        failure = first_failure(folder.layout, attempt)
        assert failure is not None
        assert failure.rank == rank
    assert "EARLIER ATTEMPTS" in why(folder.layout)


def test_an_agent_without_a_word_on_a_full_disk_is_explained_by_the_disk(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.begin().agent(1, 1)
    monkeypatch.setattr("launcher.failures.evidence.free_bytes", lambda path: 4096)
    failure = first_failure(folder.layout)
    assert failure is not None
    assert failure.kind is Kind.DISK_FULL
    assert "the disk is full" in failure.sentence
