"""Every key of the command line: its type, its meaning, and the values that are impossible.

The docstring under a field is its help text in `python -m launcher run --help` and docs/config.md.

Some sections are declared by the room that uses them: `ModelConfig` and `DataConfig` in
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
from launcher.programs import check_name
from launcher.specs.plan import check_keep, check_resume
from launcher.specs.secrets import names_a_secret
from launcher.staging.config import DataConfig, ModelConfig
from launcher.storage import local_root
from launcher.supervise.config import SuperviseConfig

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
NAME_BYTES = 255
PATH_BYTES = 3500  # of 4096: the rest is for the paths below it
MOST = 10_000
"""Limit for nodes, and for ranks on one node."""


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
    """When an interrupted or moved run has bitwise the same losses as one without interruption."""

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
    """Name of the recipe; by default the name of its file."""
    program: str = ""
    """Python file that every rank runs; a relative path starts in the current folder, or beside the
    `conf/` folder of the recipe."""
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
    """Folder for runs, checkpoints, staged models and data; every node must see it."""

    def __post_init__(self) -> None:
        local_root(self.root)
        longest = max(len(os.fsencode(name)) for name in self.root.split("/"))
        ok = longest <= NAME_BYTES and len(os.fsencode(self.root)) <= PATH_BYTES
        require("storage.root", self.root, ok=ok, reason="the name is too long for a folder")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a recipe trains."""

    max_steps: int = 0
    """Number of optimiser steps; 0 means that `train.epochs` decides."""
    epochs: int = 1
    """Number of passes over the data."""
    batch_size: int = 32
    """Samples per optimiser step, over all ranks together."""
    micro_batch_size: int = 0
    """Samples per forward pass of a rank; gradients are accumulated over them. 0 means the whole
    share of the rank."""
    lr: float = 5e-5
    """Peak learning rate."""
    head_lr: float = 0.0
    """Peak learning rate of the new classification head; 0 means `train.lr`."""
    weight_decay: float = 0.01
    """Weight decay of AdamW, except for biases and norms."""
    warmup_ratio: float = 0.1
    """Fraction of the steps for the linear warmup of the learning rate."""
    max_grad_norm: float = 1.0
    """Maximum norm of the gradients; 0 disables clipping."""
    max_length: int = 128
    """Maximum number of tokens of a sample; the rest is cut off."""
    seed: int = 42
    """Seed for the order of samples, dropout and the new head."""
    precision: Precision = Precision.auto
    """auto uses bf16 on GPUs that support it, else fp32."""
    compile: bool | str = "auto"
    """Whether to use `torch.compile`: auto (on GPUs), true or false."""
    eval_every_steps: int = 0
    """Steps between evaluations; 0 evaluates only at the end."""
    log_every_steps: int = 10
    """Steps between lines of progress."""
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
        require(
            "train.warmup_ratio", self.warmup_ratio, ok=ok, reason="expected a fraction from 0 to 1"
        )


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When checkpoints are saved, and how many are kept."""

    every_steps: int = 100
    """Optimiser steps between checkpoints; 0 saves only at the end and on a stop request."""
    keep: int = 2
    """Number of newest checkpoints to keep; at least 2, since the newest may be damaged."""

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
    module: str = ""
    """With `recipe=script`, instead of `script`: the module to run, as after `python -m`."""
    args: tuple[str, ...] = ()
    """Arguments of the program, as a list: 'args=[--x,1]'."""
    code: CodeChoice = CodeChoice.frozen
    """frozen runs the code snapshot of the run's first start; new takes a new snapshot and resumes
    with it; shared runs the code in place, where all nodes must see it (docs/code-snapshot.md)."""
    nodes: int | str = "auto"
    """Number of nodes; auto uses all of a hostfile or an allocation. On one machine the nodes share
    its cores and GPUs, and auto is 1."""
    slots: int | str = "auto"
    """Ranks on each node; auto is one for each GPU, or one on a node without GPUs."""
    device: Device = Device.auto
    """Where the ranks compute; auto uses CUDA if it is available."""
    backend: BackendConfig = field(default_factory=BackendConfig)
    """What starts and connects the ranks."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    """Where the nodes come from."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Model to start from: one of the names, or any source as a URI."""
    data: DataConfig = field(default_factory=DataConfig)
    """Data to train on: one of the names, or any source as a URI."""
    storage: StorageConfig = field(default_factory=StorageConfig)
    """The storage that all nodes share."""
    run_id: str = ""
    """Name of the run, the same over restarts; made from recipe and time if empty."""
    resume: str = "auto"
    """auto resumes from the newest checkpoint if there is one, never starts at step 0, required
    fails without one, digits are the step to resume from."""
    determinism: Determinism = Determinism.same_ranks
    """When losses are bitwise repeatable: with the same number of ranks, or with any number and any
    engine, which costs time (docs/engines.md)."""
    logical_shards: int = 8
    """With `determinism=logical_shards`: number of parts of every global batch, and largest number
    of ranks."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How the recipe trains."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """When checkpoints are saved, and how many are kept."""
    supervise: SuperviseConfig = field(default_factory=SuperviseConfig)
    """What happens when ranks fail, hang or must stop."""
    preflight: PreflightConfig = field(default_factory=PreflightConfig)
    """What must be true before anything is started."""
    params: dict[str, Any] = field(default_factory=dict)
    """Values of any name for your own recipes: `params.depth=3`."""
    env: dict[str, str] = field(default_factory=dict)
    """Extra environment variables of the ranks: `env.NCCL_DEBUG=INFO`. Not for secrets, which the
    ranks inherit."""

    def __post_init__(self) -> None:
        _check_count("nodes", self.nodes)
        _check_count("slots", self.slots)
        check_resume(self.resume)
        self._check_shards()
        self._check_module()
        if self.run_id:
            check_run_id(self.run_id)
        _check_env(self.env)

    def _check_module(self) -> None:
        if not self.module:
            return
        check_name(self.module)
        other = f"script={self.script}" if self.script else ""
        if self.recipe.program and not other:
            other = f"recipe.program={self.recipe.program}"
        if other:
            raise ConfigError(
                f"`module={self.module}` and `{other}` exclude each other",
                hint="give a file with script=, or a module with module=",
            )

    @property
    def fixed_shards(self) -> int | None:
        """Number of parts of every global batch; None: one for each rank."""
        fixed = self.determinism is Determinism.logical_shards
        return self.logical_shards if fixed else None

    @property
    def nodes_request(self) -> NodesRequest:
        """Which nodes the run asks for; the source decides what is `auto`."""
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
        reason = f"there are only `train.batch_size={batch}` samples for the shards"
        require("logical_shards", count, ok=ok, reason=reason)


def _check_count(key: str, count: int | str) -> None:
    """A typo must not make a plan that fills the memory."""
    ok = count == "auto" if isinstance(count, str) else count >= 1
    require(key, count, ok=ok, reason="expected auto, or a number of at least 1")
    ok = isinstance(count, str) or count <= MOST
    require(key, count, ok=ok, reason=f"more than {MOST} must be a typo")


def check_run_id(run_id: str) -> None:
    """Refuse a run id that cannot be the name of one folder, or that means another run."""
    if run_id == "latest":
        raise ConfigError(
            "`run_id=latest` is not a valid name: `latest` means the newest run",
            hint="choose another name, or continue the newest run: `python -m launcher resume`",
        )
    if not RUN_ID.fullmatch(run_id):
        cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", run_id).strip("-.")[:128] or "my-run"
        shown = run_id if run_id.isprintable() else repr(run_id)[1:-1]
        raise ConfigError(
            f"`run_id={shown}` is not a valid name: expected up to 128 letters, digits, `.`, `_` "
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
                f"`env.{name}` looks like a secret, and secrets never belong on a command line",
                hint=f"export {name} in your shell: the ranks inherit it",
            )


def default_root() -> str:
    """Return the absolute default of `storage.root`."""
    return str(local_root(os.environ.get("LAUNCHER_STORAGE_ROOT", "outputs")))
