"""Fine-tune a BERT text classifier, on any number of ranks.

    python -m launcher recipe=bert_finetune nodes=4

Read it from `main` down. It is one file that you can copy and change; see `docs/recipes.md`.

Three rules make the results independent of the number of ranks, and make a resumed run equal to an
undisturbed one:

* One cursor over one sample order defines the global batch. It is divided into the engine's shards:
  one per rank, or a fixed number with `determinism=logical_shards`.
* The loss is a sum over samples divided by the size of the *global* batch. So every sample has the
  same weight, also in short batches and unequal shards. An empty shard still takes part.
* Random numbers in a step depend on (seed, step, shard), never on earlier steps.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any

import datasets
import torch
import transformers
from torch.nn.functional import cross_entropy

from launcher import checkpoint, runtime
from launcher.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The configuration keys of this recipe; `launcher run --help` explains them."""

    max_steps: int
    epochs: int
    batch_size: int
    micro_batch_size: int
    lr: float
    head_lr: float
    weight_decay: float
    warmup_ratio: float
    max_grad_norm: float
    max_length: int
    seed: int
    precision: str
    compile: bool | str
    eval_every_steps: int
    log_every_steps: int
    save_every_steps: int
    keep: int
    resume: str

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Select the settings from the configuration."""
        values = {
            **config["train"],
            "save_every_steps": config["checkpoint"]["every_steps"],
            "keep": config["checkpoint"]["keep"],
            "resume": str(config["resume"]),
        }
        return cls(**{field.name: values[field.name] for field in fields(cls)})


def main() -> None:
    """Load, restore, train, evaluate, report."""
    ctx = runtime.init()
    try:
        settings = Settings.from_config(ctx.config)
    except ConfigError as error:  # started without the launcher
        sys.exit(str(error))
    with ctx.phase("load"):
        trainer = Trainer(ctx, settings)
    with ctx.phase("restore"):
        trainer.restore()
    trainer.train()
    metrics = trainer.evaluate()
    trainer.finish(metrics)


class Trainer:
    """Model, data, optimizer and checkpoints of one run, and the training loop."""

    def __init__(self, ctx: runtime.RankContext, settings: Settings) -> None:
        self.ctx, self.engine, self.settings = ctx, ctx.engine, settings
        self.data = datasets.load_from_disk(str(ctx.staged("data")))
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(ctx.staged("model"))
        model = load_model(ctx, settings, self.data["train"].features["label"].names)
        self.max_length = min(settings.max_length, model.config.max_position_embeddings)

        self.sampler = checkpoint.GlobalSampler(len(self.data["train"]), settings.batch_size)
        epoch_steps = math.ceil(len(self.data["train"]) / settings.batch_size)
        self.total_steps = settings.max_steps or epoch_steps * settings.epochs

        self.model = self.engine.wrap_model(model)
        optimizer = torch.optim.AdamW(parameter_groups(model, settings), fused=True)
        self.optimizer = self.engine.wrap_optimizer(optimizer)
        self.scheduler = transformers.get_linear_schedule_with_warmup(  # type: ignore[no-untyped-call]
            self.optimizer, round(settings.warmup_ratio * self.total_steps), self.total_steps
        )
        self.state = checkpoint.TrainingState(
            model=self.model,
            optimizer=self.optimizer,
            scheduler=self.scheduler,
            cursor=checkpoint.DataCursor(seed=settings.seed),
            # `launcher checkpoints export` needs the model config.
            scalars={"hf_config": json.loads(model.config.to_json_string())},
        )
        self.checkpoints = checkpoint.Checkpointer(
            ctx.run_dir / "checkpoints",
            group=self.engine,
            generation=ctx.attempt,
            keep=settings.keep,
            on_commit=ctx.committed,
        )
        self.trained_samples, self.trained_s = 0, 0.0

    # ---- the loop --------------------------------------------------------------------------------

    def train(self) -> None:
        """Train the remaining steps; every rank makes the same calls in the same order."""
        while self.state.step < self.total_steps:
            with self.ctx.phase("train"):
                self.step()
            if self.ctx.should_stop():
                self.save_and_leave()
            if self.is_due(self.settings.save_every_steps) or self.state.step == self.total_steps:
                self.save()
            if self.is_due(self.settings.eval_every_steps) and self.state.step < self.total_steps:
                self.evaluate()

    def step(self) -> None:
        """Take one optimizer step on the next global batch and log it."""
        started = time.perf_counter()
        cursor = self.state.cursor
        ids, self.state.cursor = self.sampler.batch(cursor)
        loss = self.gradients_of(ids)
        if self.settings.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
        (lr, *_) = self.scheduler.get_last_lr()
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)

        self.state.step += 1
        consumed = [each for shard in self.engine.shards for each in share(ids, shard)]
        self.ctx.record_samples(step=self.state.step, epoch=cursor.epoch, ids=consumed)
        self.tell(loss, lr, cursor, len(ids), time.perf_counter() - started)

    def gradients_of(self, ids: Sequence[int]) -> float:
        """Compute the gradients of a global batch with all ranks; return its mean loss."""
        losses = []
        for shard in self.engine.shards:
            torch.manual_seed(key(self.settings.seed, self.state.step, shard.number))
            losses.append(self.backward_of(share(ids, shard), shard.count / len(ids)))
        return self.engine.sum_shards(losses).item() / len(ids)

    def backward_of(self, ids: Sequence[int], weight: float) -> torch.Tensor:
        """Accumulate the gradients of one shard in pieces; return the sum of its losses."""
        pieces = list(cut(ids, self.settings.micro_batch_size or len(ids))) or [[]]
        total = torch.zeros((), device=self.ctx.device)
        for number, piece in enumerate(pieces, start=1):
            with self.engine.accumulate(self.model, last=number == len(pieces)):
                # An empty shard computes one sample and multiplies its loss by 0: the other ranks
                # wait for its gradients.
                logits, labels = self.forward(self.model, "train", piece or [0])
                loss = cross_entropy(logits, labels, reduction="sum") * bool(piece)
                # The engine averages over shards; the weight turns this into a mean over samples.
                (loss * weight).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def forward(
        self, model: Any, split: str, ids: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and labels of some samples, padded to the longest one."""
        rows = self.data[split][list(ids)]
        on_gpu = self.ctx.device.type == "cuda"
        batch = self.tokenizer(
            list(rows["text"]),
            truncation=True,
            max_length=self.max_length,
            padding=True,
            pad_to_multiple_of=8 if on_gpu else None,
            return_tensors="pt",
        )
        labels = torch.tensor(rows["label"])
        with autocast(self.ctx.device, self.settings):
            logits = model(**batch.to(self.ctx.device)).logits
        return logits.float(), labels.to(self.ctx.device)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Evaluate the model on the test split, divided into shards as in training."""
        rows = self.data["test"]
        classes = rows.features["label"].num_classes
        confusion = torch.zeros(classes * classes, dtype=torch.int64, device=self.ctx.device)
        losses = [confusion.new_zeros((), dtype=torch.float64) for _ in self.engine.shards]
        # The wrapped model communicates in forward, and some ranks have no samples.
        model = self.engine.unwrap(self.model).eval()
        pieces = cut(by_length(rows["text"]), self.evaluation_batch())
        with self.ctx.phase("eval"):
            for ids in pieces:
                for loss, shard in zip(losses, self.engine.shards, strict=True):
                    if mine := share(ids, shard):
                        logits, labels = self.forward(model, "test", mine)
                        pairs = labels * classes + logits.argmax(dim=1)
                        confusion += torch.bincount(pairs, minlength=classes * classes)
                        loss.add_(cross_entropy(logits, labels, reduction="sum"))
                if self.ctx.should_stop():  # called equally often on every rank
                    self.save_and_leave()
            self.engine.all_reduce(confusion)
            loss_sum = self.engine.sum_shards(losses).item()
        model.train()
        metrics = scores(confusion.view(classes, classes).cpu(), loss_sum)
        self.ctx.log_eval(step=self.state.step, metrics=metrics)
        self.say(
            f"step {self.state.step}: " + ", ".join(f"{k} {v:.4f}" for k, v in metrics.items())
        )
        return metrics

    def evaluation_batch(self) -> int:
        """Return the samples of an evaluation batch over all shards; without gradients more fit."""
        count = self.engine.shards[0].count
        share = math.ceil(self.settings.batch_size / count)
        return 2 * (self.settings.micro_batch_size or share) * count

    # ---- checkpoints -----------------------------------------------------------------------------

    def restore(self) -> None:
        """Resume from a checkpoint, if one exists and the configuration allows it."""
        found = self.checkpoints.restore(self.state, resume=self.settings.resume)
        if found:
            self.renew_rate()
            self.say(f"resumed after step {found.step} of {self.total_steps}. {found.note}")

    def renew_rate(self) -> None:
        """Use the learning rate of the current schedule: the saved one may have been shorter.

        In an unchanged run both are equal.
        """
        schedule = self.scheduler
        for group, base, factor in zip(
            self.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
        ):
            group["lr"] = base * factor(schedule.last_epoch)
        schedule._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def save(self) -> None:
        """Start writing a checkpoint in the background."""
        with self.ctx.phase("save"):
            self.checkpoints.save(self.state)

    def save_and_leave(self) -> None:
        """Write a checkpoint of this step, wait until it is durable, and end this rank."""
        with self.ctx.phase("save"):
            self.checkpoints.wait()
            if self.checkpoints.committed_step != self.state.step:
                self.checkpoints.save(self.state)
                self.checkpoints.wait()
        self.ctx.leave_saved(self.state.step)

    def is_due(self, every_steps: int) -> bool:
        """Return whether an action with this interval is due; 0 means never."""
        return every_steps > 0 and self.state.step % every_steps == 0

    # ---- reporting -------------------------------------------------------------------------------

    def tell(
        self,
        loss: float,
        lr: float,
        cursor: checkpoint.DataCursor,
        samples: int,
        step_time_s: float,
    ) -> None:
        """Log the step that was just taken."""
        self.trained_samples += samples
        self.trained_s += step_time_s
        epoch = cursor.epoch + (cursor.samples + samples) / self.sampler.size
        self.ctx.log_step(
            step=self.state.step,
            total_steps=self.total_steps,
            epoch=epoch,
            loss=loss,
            lr=lr,
            samples=samples,
            step_time_s=step_time_s,
        )
        if self.is_due(self.settings.log_every_steps) or self.state.step == self.total_steps:
            self.say(
                f"step {self.state.step}/{self.total_steps}  loss {loss:.4f}  lr {lr:.2e}  "
                f"{samples / step_time_s:.1f} samples/s"
            )

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Wait for the last checkpoint and report the result."""
        with self.ctx.phase("save"):
            self.checkpoints.wait()
            self.checkpoints.close()
        rate = self.trained_samples / self.trained_s if self.trained_s else 0.0
        result = {**metrics, "steps": self.state.step, "samples_per_s": rate}
        self.ctx.finish(result)

    def say(self, text: str) -> None:
        """Print a line on rank 0 only."""
        if self.ctx.is_main:
            print(text, flush=True)


# ---- model and optimizer -------------------------------------------------------------------------


def load_model(ctx: runtime.RankContext, settings: Settings, labels: Sequence[str]) -> Any:
    """Return the staged encoder with a new classifier, on the device of this rank."""
    quiet()  # transformers warns that the classifier is new
    torch.manual_seed(settings.seed)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        ctx.staged("model"),
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={name: number for number, name in enumerate(labels)},
        dtype=torch.float32,
    )
    model.config.architectures = [type(model).__name__]  # the staged one had another head
    model = model.to(ctx.device).train()
    if wants_compile(ctx.device, settings):
        model.compile(dynamic=True)  # in place: keeps parameter names. Lengths vary
    return model


def quiet() -> None:
    """Suppress expected warnings and progress bars of transformers in the logs."""
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def parameter_groups(model: Any, settings: Settings) -> list[dict[str, Any]]:
    """Return four groups: encoder and head, each with and without weight decay.

    The head has random initial weights and tolerates a higher learning rate. Biases and norms
    (vectors) have no weight decay.
    """
    groups = []
    encoder = f"{model.base_model_prefix}."
    for is_head, lr in ((False, settings.lr), (True, settings.head_lr or settings.lr)):
        named = [(n, p) for n, p in model.named_parameters() if n.startswith(encoder) != is_head]
        matrices = [p for _, p in named if p.ndim > 1]
        vectors = [p for _, p in named if p.ndim <= 1]
        groups.append({"params": matrices, "lr": lr, "weight_decay": settings.weight_decay})
        groups.append({"params": vectors, "lr": lr, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def autocast(device: torch.device, settings: Settings) -> AbstractContextManager[None]:
    """Use bf16 if requested or, with auto, on GPUs that support it natively."""
    good = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    enabled = good if settings.precision == "auto" else settings.precision == "bf16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def wants_compile(device: torch.device, settings: Settings) -> bool:
    """Return whether to compile: if requested or, with auto, on GPUs that Triton supports."""
    if settings.compile != "auto":
        return bool(settings.compile)
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= (7, 0)


# ---- small pieces --------------------------------------------------------------------------------


def share(ids: Sequence[int], shard: runtime.Shard) -> list[int]:
    """Return the samples of a global batch that belong to a shard."""
    return checkpoint.share(ids, shard.number, shard.count)


def cut(ids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Cut a sequence into pieces of `size`; the last one may be shorter."""
    return (ids[start : start + size] for start in range(0, len(ids), size or 1))


def by_length(texts: Sequence[str]) -> list[int]:
    """Return the row numbers sorted by text length, to reduce padding."""
    lengths = [len(text) for text in texts]
    return sorted(range(len(lengths)), key=lengths.__getitem__)


def key(*parts: int) -> int:
    """Return a seed that is different for every combination of `parts`."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:7], "big")


def scores(confusion: torch.Tensor, loss_sum: float) -> dict[str, float]:
    """Return accuracy, macro F1 and mean loss from a table of (true class, predicted class).

    The F1 ignores classes that neither occur nor are predicted, as scikit-learn does.
    """
    table = confusion.double()
    hits, rows, columns = table.diagonal(), table.sum(dim=1), table.sum(dim=0)
    occurs = rows + columns > 0
    f1 = 2 * hits[occurs] / (rows + columns)[occurs]
    total = table.sum()
    return {
        "accuracy": float(hits.sum() / total),
        "macro_f1": float(f1.mean()),
        "loss": loss_sum / float(total),
    }


if __name__ == "__main__":
    main()
