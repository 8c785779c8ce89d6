"""The arithmetic of the recipe: what must not depend on how the work is shared out."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import transformers

from launcher import checkpoint, runtime
from recipes.bert_finetune import build_tiny_bert, train

LABELS = ["a", "b", "c"]
SETTINGS = train.Settings(
    max_steps=0,
    epochs=2,
    batch_size=7,
    micro_batch_size=0,
    lr=1e-3,
    head_lr=5e-3,
    weight_decay=0.1,
    warmup_ratio=0.0,
    max_grad_norm=0.0,
    max_length=16,
    seed=3,
    precision="fp32",
    compile=False,
    eval_every_steps=0,
    log_every_steps=10,
    save_every_steps=0,
    keep=2,
    resume="auto",
)


class OneOfMany:
    """A rank of a world that is only pretended: collectives return what the rank brought itself."""

    name = "pretended"

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size

    @property
    def shards(self) -> tuple[runtime.Shard, ...]:
        return (runtime.Shard(number=self.rank, count=self.world_size),)

    def sum_shards(self, parts: Any) -> Any:
        (mine,) = parts
        return mine

    def wrap_model(self, model: Any) -> Any:
        return model

    unwrap = wrap_optimizer = wrap_model

    def accumulate(self, model: Any, *, last: bool) -> Any:
        return contextlib.nullcontext()

    def all_reduce(self, tensor: Any, op: str = "sum") -> Any:
        return tensor

    def all_gather_object(self, obj: Any) -> list[Any]:
        return [obj]


@dataclasses.dataclass
class Context:
    """What the recipe sees of the launcher."""

    run_dir: Path
    model: Path
    data: Path
    engine: OneOfMany
    attempt: int = 1
    run_id: str = "run"
    stops: bool = False
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    losses: dict[int, float] = dataclasses.field(default_factory=dict)
    result: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_main(self) -> bool:
        return self.engine.rank == 0

    def staged(self, name: str) -> Path:
        return {"model": self.model, "data": self.data}[name]

    def phase(self, name: str) -> Any:
        return contextlib.nullcontext()

    def log_step(self, *, step: int, loss: float, **_: Any) -> None:
        self.losses[step] = loss

    def log_eval(self, *, step: int, metrics: Any) -> None: ...

    def record_samples(self, *, step: int, epoch: int, ids: list[int]) -> None: ...

    def committed(self, step: int) -> None: ...

    def should_stop(self) -> bool:
        return self.stops

    def leave_saved(self, step: int) -> None:
        raise SystemExit(0)

    def finish(self, result: dict[str, Any]) -> None:
        self.result = result


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model without dropout, and 17 texts: two batches of 7 and one of 3."""
    root = tmp_path_factory.mktemp("staged")
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    texts = [" ".join(LABELS[(i * k) % 3] * 2 for k in range(1, 2 + i % 5)) for i in range(17)]
    kinds = {
        "id": datasets.Value("int64"),
        "text": datasets.Value("string"),
        "label": datasets.ClassLabel(names=LABELS),
    }
    rows = {"id": list(range(17)), "text": texts, "label": [i % 3 for i in range(17)]}
    split = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
    datasets.DatasetDict({"train": split, "test": split}).save_to_disk(str(root / "data"))

    shape = build_tiny_bert.Settings(hidden=16, layers=1, vocabulary=60, positions=16)
    tokenizer = build_tiny_bert.train_tokenizer(texts, shape)
    model = build_tiny_bert.random_model(len(tokenizer), shape)
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.0
    tokenizer.save_pretrained(root / "model")
    model.save_pretrained(root / "model")
    return root / "model", root / "data"


@pytest.fixture
def trainer(staged: tuple[Path, Path], tmp_path: Path) -> Any:
    """Make a trainer of one rank."""
    model, data = staged

    def make(rank: int = 0, world_size: int = 1, attempt: int = 1, **changes: Any) -> train.Trainer:
        run_dir = tmp_path / f"run-{rank}-{world_size}"
        context = Context(run_dir, model, data, OneOfMany(rank, world_size), attempt)
        return train.Trainer(context, dataclasses.replace(SETTINGS, **changes))  # type: ignore[arg-type]

    return make


def gradients(trainer: train.Trainer, ids: list[int]) -> tuple[float, list[Any]]:
    """Return this rank's part of the loss, and its gradients, for a global batch."""
    loss = trainer.gradients_of(ids)
    return loss, [parameter.grad for parameter in trainer.model.parameters()]


@pytest.mark.parametrize("world_size", [2, 5])
@pytest.mark.parametrize("batch", [7, 3])
@pytest.mark.parametrize("micro", [0, 2])
def test_gradients_and_loss_are_those_of_the_global_batch_at_any_number_of_ranks(
    world_size: int, batch: int, micro: int, trainer: Any
) -> None:
    """Also when shares are unequal, and when there are more ranks than samples."""
    ids = list(range(batch))
    loss, expected = gradients(trainer(), ids)
    parts = [
        gradients(trainer(rank, world_size, micro_batch_size=micro), ids)
        for rank in range(world_size)
    ]
    assert sum(part for part, _ in parts) == pytest.approx(loss, rel=1e-5)
    for number, gradient in enumerate(expected):
        mean = sum(found[number] for _, found in parts) / world_size  # what the engine does
        torch.testing.assert_close(mean, gradient, rtol=1e-4, atol=1e-6)


def test_a_rank_without_samples_has_gradients_of_zero(trainer: Any) -> None:
    loss, found = gradients(trainer(rank=0, world_size=9), list(range(3)))
    assert loss == 0.0
    assert all(gradient is not None and not gradient.any() for gradient in found)


def test_dropout_is_decided_by_seed_step_and_shard_and_not_by_what_was_drawn_before(
    trainer: Any,
) -> None:
    losses = []
    for drawn in (0, 5):
        made = trainer()
        for module in made.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.5
        torch.rand(drawn)
        made.step()
        losses.append(made.ctx.losses[1])
    assert losses[0] == losses[1]


def test_a_resumed_run_has_bitwise_the_losses_of_an_undisturbed_one(trainer: Any) -> None:
    calm = trainer(rank=0, world_size=1, save_every_steps=2)
    calm.train()
    calm.finish({})
    assert sorted(calm.ctx.losses) == [1, 2, 3, 4, 5, 6]

    again = trainer(attempt=2, resume="4")
    again.restore()
    again.train()
    assert again.ctx.losses == {step: calm.ctx.losses[step] for step in (5, 6)}
    again.checkpoints.close()


def test_a_stopped_run_saves_the_step_it_leaves_at(trainer: Any) -> None:
    stopped = trainer()
    stopped.ctx.stops = True
    with pytest.raises(SystemExit):
        stopped.train()
    (commit,) = checkpoint.list_commits(stopped.ctx.run_dir / "checkpoints")
    assert commit.step == 1


def test_a_run_that_was_done_is_only_evaluated_again(trainer: Any) -> None:
    first = trainer()
    first.train()
    expected = first.evaluate()
    first.finish(expected)

    again = trainer(attempt=2)
    again.restore()
    again.train()
    assert again.ctx.losses == {}
    assert again.evaluate() == expected
    again.finish(expected)
    assert again.ctx.result["steps"] == 6
    assert again.ctx.result["samples_per_s"] == 0.0


def test_a_run_made_longer_goes_on_with_the_rates_of_the_longer_schedule(trainer: Any) -> None:
    first = trainer()
    first.train()
    first.finish({})
    assert {group["lr"] for group in first.optimizer.param_groups} == {0.0}

    longer = trainer(attempt=2, epochs=4)
    longer.restore()
    assert {group["lr"] for group in longer.optimizer.param_groups} == {0.5e-3, 2.5e-3}
    assert longer.scheduler.get_last_lr()[0] == 0.5e-3
    before = [p.clone() for p in longer.model.parameters()]
    longer.step()
    after = longer.model.parameters()
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True) if b.any())
    longer.train()
    assert sorted(longer.ctx.losses) == [7, 8, 9, 10, 11, 12]
    longer.finish({})


def test_max_steps_ends_before_the_epochs_do_and_may_go_beyond(trainer: Any) -> None:
    assert trainer().total_steps == 6
    assert trainer(max_steps=2).total_steps == 2
    assert trainer(max_steps=50).total_steps == 50


def test_head_and_encoder_have_their_own_rates_and_vectors_do_not_decay(trainer: Any) -> None:
    made = trainer()
    groups = made.optimizer.param_groups
    names = {id(p): name for name, p in made.model.named_parameters()}
    table = {
        names[id(p)]: (group["initial_lr"], group["weight_decay"])
        for group in groups
        for p in group["params"]
    }
    assert len(table) == len(names)
    assert table["classifier.weight"] == (5e-3, 0.1)
    assert table["classifier.bias"] == (5e-3, 0.0)
    assert table["bert.embeddings.word_embeddings.weight"] == (1e-3, 0.1)
    assert table["bert.embeddings.LayerNorm.weight"] == (1e-3, 0.0)


def test_scores_are_accuracy_and_the_mean_f1_of_the_classes_that_occur() -> None:
    """Three classes of which one neither occurs nor is predicted; worked out by hand."""
    confusion = torch.tensor([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
    found = train.scores(confusion, loss_sum=5.0)
    assert found["accuracy"] == pytest.approx(0.7)
    assert found["macro_f1"] == pytest.approx((6 / 9 + 8 / 11) / 2)
    assert found["loss"] == pytest.approx(0.5)


def test_texts_are_evaluated_from_the_shortest_to_the_longest() -> None:
    assert train.by_length(["ccc", "a", "bb", ""]) == [3, 1, 2, 0]


def test_pieces_hold_every_id_once() -> None:
    assert [list(piece) for piece in train.cut(range(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(train.cut([], 0)) == []


def test_neighbouring_steps_and_shards_draw_different_numbers() -> None:
    keys = {train.key(42, step, shard) for step in range(50) for shard in range(8)}
    assert len(keys) == 400


@pytest.mark.process
def test_without_the_launcher_it_says_how_to_start_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, train.__file__], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "python -m launcher" in done.stderr
    assert "Traceback" not in done.stderr
