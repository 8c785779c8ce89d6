"""Every key of the command line: its type, default, help text and checks.

The docstring under a field is its help text in `python -m launcher run --help` and docs/config.md.

The rooms that use them declare these sections: `ModelConfig` and `DataConfig` in
`launcher.staging.config`, `ClusterConfig` and `PreflightConfig` in `launcher.nodes.config`,
`SlurmConfig` in `launcher.slurm.config`, `SuperviseConfig` in `launcher.supervise.config`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from launcher.errors import ConfigError, require
from launcher.nodes.candidate import NodesRequest
from launcher.nodes.config import ClusterConfig, PreflightConfig
from launcher.specs.plan import check_keep, check_resume
from launcher.specs.secrets import names_a_secret
from launcher.staging.config import DataConfig, ModelConfig
from launcher.storage import local_root
from launcher.supervise.config import SuperviseConfig

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
NAME_BYTES = 255
PATH_BYTES = 3500  # of 4096: leaves room for the paths below it
MAX_COUNT = 10_000
"""Most nodes, and most ranks on a node."""


class Device(StrEnum):
    """Where the ranks compute. Names equal values, because OmegaConf compares the names."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Precision(StrEnum):
    """Number format of the forward and backward pass."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


class Determinism(StrEnum):
    """When an interrupted or moved run has bitwise the losses of an undisturbed one."""

    same_ranks = "same_ranks"
    logical_shards = "logical_shards"


class CodeChoice(StrEnum):
    """Which code the ranks run."""

    frozen = "frozen"
    new = "new"
    shared = "shared"


@dataclass(frozen=True, kw_only=True)
class RecipeConfig:
    """What to train."""

    name: str = ""
    """Name of the recipe; by default, the name of its file."""
    program: str = ""
    """Python file that every rank runs. A relative path starts at the current folder, or at the
    folder that contains the recipe's `conf/`."""
    description: str = ""
    """One line for `--help`."""


@dataclass(frozen=True, kw_only=True)
class BackendConfig:
    """What starts and connects the ranks."""

    name: str = "torchrun"
    """Name of the engine."""


@dataclass(frozen=True, kw_only=True)
class StorageConfig:
    """The storage that all nodes share."""

    root: str = "outputs"
    """Folder for runs, checkpoints, staged models and data. All nodes must see it."""

    def __post_init__(self) -> None:
        local_root(self.root)
        longest = max(len(os.fsencode(name)) for name in self.root.split("/"))
        ok = longest <= NAME_BYTES and len(os.fsencode(self.root)) <= PATH_BYTES
        require("storage.root", self.root, ok=ok, reason="the path is too long")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a recipe trains."""

    max_steps: int = 0
    """Optimizer steps after which training ends; 0 means that `train.epochs` decides."""
    epochs: int = 1
    """Passes over the data."""
    batch_size: int = 32
    """Samples of one optimizer step, over all ranks together."""
    micro_batch_size: int = 0
    """Samples that a rank computes in one pass; it accumulates gradients over its share of the
    batch. 0 takes the whole share in one pass."""
    lr: float = 5e-5
    """Peak learning rate."""
    head_lr: float = 0.0
    """Peak learning rate of the new head; 0 means `train.lr`."""
    weight_decay: float = 0.01
    """Weight decay of AdamW; biases and norms have none."""
    warmup_ratio: float = 0.1
    """Fraction of the steps in which the learning rate rises from 0."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm; 0 does not clip."""
    max_length: int = 128
    """Tokens after which a text is truncated."""
    seed: int = 42
    """Seed of the order of samples, dropout and the new head."""
    precision: Precision = Precision.auto
    """auto uses bf16 on GPUs that support it, else fp32."""
    compile: bool | str = "auto"
    """Use `torch.compile`: auto (on GPUs), true or false."""
    eval_every_steps: int = 0
    """Evaluate every N steps; 0 only at the end."""
    log_every_steps: int = 10
    """Print progress every N steps."""
    record_samples: bool = False
    """Write the ids of the samples that each rank used."""

    def __post_init__(self) -> None:
        self._check_sizes()
        self._check_rates()
        ok = self.compile in (True, False, "auto")
        require("train.compile", self.compile, ok=ok, reason="expected auto, true or false")

    def _check_sizes(self) -> None:
        for name in ("epochs", "batch_size", "max_length", "log_every_steps"):
            value = getattr(self, name)
            require(f"train.{name}", value, ok=value >= 1, reason="it must be at least 1")
        for name in ("max_steps", "micro_batch_size", "eval_every_steps", "seed"):
            value = getattr(self, name)
            require(f"train.{name}", value, ok=value >= 0, reason="it cannot be negative")
        require(
            "train.micro_batch_size",
            self.micro_batch_size,
            ok=self.micro_batch_size <= self.batch_size,
            reason=f"it cannot be larger than `train.batch_size={self.batch_size}`",
        )

    def _check_rates(self) -> None:
        require("train.lr", self.lr, ok=0 < self.lr < 1e3, reason="it must be above 0")
        for name in ("head_lr", "weight_decay", "max_grad_norm"):
            value = getattr(self, name)
            require(f"train.{name}", value, ok=0 <= value < 1e9, reason="it cannot be negative")
        ok = 0 <= self.warmup_ratio <= 1
        require("train.warmup_ratio", self.warmup_ratio, ok=ok, reason="expected 0 to 1")


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When checkpoints are saved, and how many are kept."""

    every_steps: int = 100
    """Save every N optimizer steps; 0 saves only at the end and on a stop request."""
    keep: int = 2
    """How many of the newest to keep; at least 2, because the newest may be damaged."""

    def __post_init__(self) -> None:
        ok = self.every_steps >= 0
        require("checkpoint.every_steps", self.every_steps, ok=ok, reason="it cannot be negative")
        check_keep(self.keep)


@dataclass(frozen=True, kw_only=True)
class LaunchConfig:
    """The configuration of one command."""

    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    """What to train: one of the recipes."""
    script: str = ""
    """With `recipe=script`: the Python file to run, unchanged."""
    args: tuple[str, ...] = ()
    """Arguments of the program, as a list: 'args=[--x,1]'."""
    code: CodeChoice = CodeChoice.frozen
    """frozen runs the code snapshot of the run's first start; new takes a new snapshot and resumes
    with it; shared runs the code in place, where all nodes must see it (docs/code-snapshot.md)."""
    nodes: int | str = "auto"
    """Number of nodes; auto takes all of a hostfile or an allocation. On one machine, auto is 1,
    and more nodes share its cores and GPUs."""
    slots: int | str = "auto"
    """Ranks on each node; auto is one for each GPU of the node, or one without GPUs."""
    device: Device = Device.auto
    """Where the ranks compute; auto uses CUDA if available."""
    backend: BackendConfig = field(default_factory=BackendConfig)
    """What starts and connects the ranks."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    """Where the nodes come from."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Model to start from: a choice of `model=`, a path or a URI."""
    data: DataConfig = field(default_factory=DataConfig)
    """Data to train on: a choice of `data=`, a path or a URI."""
    storage: StorageConfig = field(default_factory=StorageConfig)
    """The storage that all nodes share."""
    run_id: str = ""
    """Name of the run, the same over restarts; by default, made from the recipe and the time."""
    resume: str = "auto"
    """auto resumes from the newest checkpoint if there is one; never starts at step 0; required
    fails without a checkpoint; a number resumes from that step."""
    determinism: Determinism = Determinism.same_ranks
    """When the losses of a run are bitwise repeatable: same_ranks with the same number of ranks;
    logical_shards with any number and any engine, which costs time (docs/engines.md)."""
    logical_shards: int = 8
    """With `determinism=logical_shards`: number of parts of each global batch, and so the largest
    useful number of ranks."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How the recipe trains."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """When checkpoints are saved, and how many are kept."""
    supervise: SuperviseConfig = field(default_factory=SuperviseConfig)
    """What happens when ranks fail, hang or are asked to stop."""
    preflight: PreflightConfig = field(default_factory=PreflightConfig)
    """What must hold before anything is started."""
    params: dict[str, Any] = field(default_factory=dict)
    """Free values for your own recipes: `params.depth=3`."""
    env: dict[str, str] = field(default_factory=dict)
    """Extra environment variables of the ranks: `env.NCCL_DEBUG=INFO`. Not for secrets, which the
    ranks inherit."""

    def __post_init__(self) -> None:
        _check_count("nodes", self.nodes)
        _check_count("slots", self.slots)
        check_resume(self.resume)
        self._check_shards()
        if self.run_id:
            check_run_id(self.run_id)
        _check_env(self.env)

    @property
    def fixed_shards(self) -> int | None:
        """Number of parts of each global batch; None for one per rank."""
        fixed = self.determinism is Determinism.logical_shards
        return self.logical_shards if fixed else None

    @property
    def nodes_request(self) -> NodesRequest:
        """The requested nodes; for `auto`, the source decides."""
        return NodesRequest(
            cluster=self.cluster,
            nodes=self.nodes if isinstance(self.nodes, int) else None,
            slots=self.slots if isinstance(self.slots, int) else None,
            device=self.device.value,
        )

    def _check_shards(self) -> None:
        count, batch = self.logical_shards, self.train.batch_size
        require("logical_shards", count, ok=count >= 1, reason="it must be at least 1")
        ok = self.fixed_shards is None or count <= batch
        reason = f"each shard needs at least one of the `train.batch_size={batch}` samples"
        require("logical_shards", count, ok=ok, reason=reason)


def _check_count(key: str, count: int | str) -> None:
    """Refuse a count that would make a plan which fills the memory."""
    ok = count == "auto" if isinstance(count, str) else count >= 1
    require(key, count, ok=ok, reason="expected auto, or a number of at least 1")
    ok = isinstance(count, str) or count <= MAX_COUNT
    require(key, count, ok=ok, reason=f"more than {MAX_COUNT} must be a typo")


def check_run_id(run_id: str) -> None:
    """Refuse a run id that cannot be the name of a folder."""
    if not RUN_ID.fullmatch(run_id):
        cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", run_id).strip("-.")[:128] or "my-run"
        raise ConfigError(
            f"`run_id={run_id}` is not a valid name: expected up to 128 letters, digits, `.`, `_` "
            "and `-`, starting with a letter or digit",
            hint=f"for example `run_id={cleaned}`",
        )


def _check_env(env: Mapping[str, str]) -> None:
    for name in env:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ConfigError(
                f"`env.{name}` is not a valid name of a variable", hint="use A-Z, 0-9 and _"
            )
        if name.startswith("LAUNCHER_"):
            raise ConfigError(
                f"`env.{name}`: the launcher itself sets the variables LAUNCHER_*",
                hint="choose another name, or use the key that sets it: "
                "`python -m launcher run --help`",
            )
        if names_a_secret(name):
            raise ConfigError(
                f"`env.{name}` looks like a secret, which is not allowed on the command line",
                hint=f"export {name} in your shell; the ranks inherit it",
            )


def default_root() -> str:
    """Return the absolute path of the default `storage.root`."""
    return str(local_root(os.environ.get("LAUNCHER_STORAGE_ROOT", "outputs")))
