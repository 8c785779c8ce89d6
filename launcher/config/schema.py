"""Every key of the command line, typed, with what it means and which values are impossible.

The docstring under a field is its help text: `python -m launcher run --help` and docs/config.md
print it.

Pieces that live with their owner: `ModelConfig` and `DataConfig` in `launcher.staging.config`,
`ClusterConfig` and `PreflightConfig` in `launcher.nodes.config`, `SlurmConfig` in
`launcher.slurm.config`, `SuperviseConfig` in `launcher.supervise.config`.
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
PATH_BYTES = 3500  # of 4096: room for what we put below it
MOST = 10_000
"""Of nodes, and of ranks on one."""


class Device(StrEnum):
    """Where the ranks compute. Names equal values: that is what OmegaConf compares."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Precision(StrEnum):
    """Numbers that the forward and backward pass use."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


class Determinism(StrEnum):
    """When a run that was moved or disturbed has bitwise the losses of one that was not."""

    same_ranks = "same_ranks"
    logical_shards = "logical_shards"


class CodeChoice(StrEnum):
    """Which code the ranks run."""

    frozen = "frozen"
    new = "new"
    shared = "shared"


@dataclass(frozen=True, kw_only=True)
class RecipeConfig:
    """What is trained."""

    name: str = ""
    """Name of the recipe; the name of its file when it does not say."""
    program: str = ""
    """Python file that every rank runs; a relative path starts where you stand, or beside the
    `conf/` that the recipe came from."""
    description: str = ""
    """One line for `--help`."""


@dataclass(frozen=True, kw_only=True)
class BackendConfig:
    """What starts and connects the ranks."""

    name: str = "torchrun"
    """Name of the engine."""


@dataclass(frozen=True, kw_only=True)
class StorageConfig:
    """The one place that all nodes see."""

    root: str = "outputs"
    """Folder of runs, checkpoints, staged models and data; absolute once loaded."""

    def __post_init__(self) -> None:
        local_root(self.root)
        longest = max(len(os.fsencode(name)) for name in self.root.split("/"))
        ok = longest <= NAME_BYTES and len(os.fsencode(self.root)) <= PATH_BYTES
        require("storage.root", self.root, ok=ok, reason="no folder can have a name this long")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a recipe trains."""

    max_steps: int = 0
    """Optimiser steps after which training ends; 0 means that `train.epochs` decides."""
    epochs: int = 1
    """Times that every sample is seen."""
    batch_size: int = 32
    """Samples of one optimiser step over all ranks together, whatever `nodes` is."""
    micro_batch_size: int = 0
    """Samples that a rank computes at once; its share is accumulated from such pieces.
    0 takes the share whole."""
    lr: float = 5e-5
    """Peak learning rate."""
    head_lr: float = 0.0
    """Peak learning rate of the new head; 0 means `train.lr`."""
    weight_decay: float = 0.01
    """Weight decay of AdamW; biases and norms have none."""
    warmup_ratio: float = 0.1
    """Share of the steps in which the learning rate rises from 0."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm; 0 does not clip."""
    max_length: int = 128
    """Tokens after which a text is cut."""
    seed: int = 42
    """Decides the order of samples, dropout and the new head."""
    precision: Precision = Precision.auto
    """auto takes bf16 on GPUs that have it, else fp32."""
    compile: bool | str = "auto"
    """Whether the model goes through `torch.compile`: auto (on GPUs), true, false."""
    eval_every_steps: int = 0
    """Evaluate after every so many steps; 0 only at the end."""
    log_every_steps: int = 10
    """Print a line of progress after every so many steps."""
    record_samples: bool = False
    """Write the ids of the samples that each rank consumed, to count them."""

    def __post_init__(self) -> None:
        self._check_sizes()
        self._check_rates()
        ok = self.compile in (True, False, "auto")
        require("train.compile", self.compile, ok=ok, reason="it is auto, true or false")

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
            reason=f"a rank's piece cannot be larger than `train.batch_size={self.batch_size}`",
        )

    def _check_rates(self) -> None:
        require("train.lr", self.lr, ok=0 < self.lr < 1e3, reason="it must be above 0")
        for name in ("head_lr", "weight_decay", "max_grad_norm"):
            value = getattr(self, name)
            require(f"train.{name}", value, ok=0 <= value < 1e9, reason="it cannot be negative")
        ok = 0 <= self.warmup_ratio <= 1
        require("train.warmup_ratio", self.warmup_ratio, ok=ok, reason="a share is 0 to 1")


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When checkpoints are written and kept."""

    every_steps: int = 100
    """Save after every so many optimiser steps; 0 only at the end and when asked to stop."""
    keep: int = 2
    """How many of the newest stay; at least 2, since the newest may turn out damaged."""

    def __post_init__(self) -> None:
        ok = self.every_steps >= 0
        require("checkpoint.every_steps", self.every_steps, ok=ok, reason="it cannot be negative")
        check_keep(self.keep)


@dataclass(frozen=True, kw_only=True)
class LaunchConfig:
    """Everything that one command asks for."""

    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    """What is trained: one of the recipes."""
    script: str = ""
    """With `recipe=script`: the Python file to run, unchanged."""
    args: tuple[str, ...] = ()
    """Arguments of the program, as a list: 'args=[--x,1]'."""
    code: CodeChoice = CodeChoice.frozen
    """frozen runs the code snapshot of the run's first start; new takes a new snapshot and resumes
    with it; shared runs the code in place, where all nodes must see it (docs/code-snapshot.md)."""
    nodes: int | str = "auto"
    """How many nodes; auto takes all of a hostfile or an allocation. On one machine they share its
    cores and GPUs, and auto is 1."""
    slots: int | str = "auto"
    """Ranks on each node; auto takes one for each GPU of the node, and one without GPUs."""
    device: Device = Device.auto
    """Where the ranks compute; auto takes CUDA where there is any."""
    backend: BackendConfig = field(default_factory=BackendConfig)
    """What starts and connects the ranks."""
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    """Where the nodes come from."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Model to start from: a name of ours, or any source as a URI."""
    data: DataConfig = field(default_factory=DataConfig)
    """Data to train on: a name of ours, or any source as a URI."""
    storage: StorageConfig = field(default_factory=StorageConfig)
    """The one place that all nodes see."""
    run_id: str = ""
    """Name of the run, kept over restarts; made from recipe and time when empty."""
    resume: str = "auto"
    """auto goes on from the newest checkpoint if there is one, never starts at 0, required insists
    on one, digits name its step."""
    determinism: Determinism = Determinism.same_ranks
    """Where the losses of a run are bitwise repeatable: at the same number of ranks, or at any
    number and under any engine, which costs time (docs/engines.md)."""
    logical_shards: int = 8
    """With `determinism=logical_shards`: into how many parts every global batch is cut; as many
    ranks can share the work."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How the recipe trains."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """When checkpoints are written and kept."""
    supervise: SuperviseConfig = field(default_factory=SuperviseConfig)
    """What happens when ranks fail, hang or are asked to stop."""
    preflight: PreflightConfig = field(default_factory=PreflightConfig)
    """What must hold before anything is started."""
    params: dict[str, Any] = field(default_factory=dict)
    """Free values for recipes of your own: `params.depth=3`."""
    env: dict[str, str] = field(default_factory=dict)
    """Extra environment variables of the ranks: `env.NCCL_DEBUG=INFO`. Secrets are inherited."""

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
        """Into how many parts every global batch is cut; None: into one for each rank."""
        fixed = self.determinism is Determinism.logical_shards
        return self.logical_shards if fixed else None

    @property
    def nodes_request(self) -> NodesRequest:
        """Which nodes are asked for; `auto` leaves a number to the source."""
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
        reason = f"a shard has at least one of the `train.batch_size={batch}` samples"
        require("logical_shards", count, ok=ok, reason=reason)


def _check_count(key: str, count: int | str) -> None:
    """A slip of the finger must not make a plan that fills the memory."""
    ok = count == "auto" if isinstance(count, str) else count >= 1
    require(key, count, ok=ok, reason="it is auto, or a count of at least 1")
    ok = isinstance(count, str) or count <= MOST
    require(key, count, ok=ok, reason=f"more than {MOST} are surely a slip")


def check_run_id(run_id: str) -> None:
    """Refuse a run id that could not be the name of one folder."""
    if not RUN_ID.fullmatch(run_id):
        cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", run_id).strip("-.")[:128] or "my-run"
        raise ConfigError(
            f"`run_id={run_id}` cannot name a run: letters, digits, `.`, `_` and `-` only, "
            "starting with a letter or digit, at most 128 of them",
            hint=f"for example `run_id={cleaned}`",
        )


def _check_env(env: Mapping[str, str]) -> None:
    for name in env:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ConfigError(
                f"`env.{name}` cannot name an environment variable", hint="use A-Z, 0-9 and _"
            )
        if name.startswith("LAUNCHER_"):
            raise ConfigError(
                f"`env.{name}`: the names LAUNCHER_* are set by the launcher itself",
                hint="choose another name, or use the key that sets it: "
                "`python -m launcher run --help`",
            )
        if names_a_secret(name):
            raise ConfigError(
                f"`env.{name}` looks like a secret, and those never stand on a command line",
                hint=f"export {name} in your shell: the ranks inherit it",
            )


def default_root() -> str:
    """Return the absolute `storage.root` of a command that names none."""
    return str(local_root(os.environ.get("LAUNCHER_STORAGE_ROOT", "outputs")))
