"""Build a small BERT with random weights, and a WordPiece tokenizer trained on the data.

Use it for tests, and to try the launcher without a download. It trains in seconds and is useless
otherwise. The same data and options give the same files.

Keep it in one file: the staged folder is named after the digest of this program.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import tokenizers
import torch
import transformers

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The shape of the model. Every field is an `--option`."""

    layers: int = 2
    hidden: int = 128
    heads: int = 2
    vocabulary: int = 4096
    """Maximum vocabulary size; a small data set gives fewer entries."""
    positions: int = 512
    """Maximum text length in tokens."""
    texts: int = 20_000
    """How many training texts the tokenizer learns from."""
    seed: int = 0


def main() -> None:
    """Build the model and the tokenizer."""
    out, data, settings = parse_arguments()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    texts = datasets.load_from_disk(str(data))["train"][: settings.texts]["text"]
    tokenizer = train_tokenizer(texts, settings)
    print("PROGRESS 1 2 parts", flush=True)
    tokenizer.save_pretrained(str(out))
    random_model(len(tokenizer), settings).save_pretrained(str(out))
    print("PROGRESS 2 2 parts", flush=True)


def parse_arguments() -> tuple[Path, Path, Settings]:
    """Return the folder to fill, the data set folder and the settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--input", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    given = dict(pair.partition("=")[::2] for pair in arguments.option)
    known = vars(Settings())
    if unknown := sorted(set(given) - set(known)):
        parser.error(f"unknown option `{unknown[0]}`; there are: {', '.join(known)}")
    inputs = dict(pair.partition("=")[::2] for pair in arguments.input)
    if "data" not in inputs:
        parser.error("no data to train the tokenizer on: give --input data=FOLDER")
    try:
        settings = Settings(**{name: int(value) for name, value in given.items()})
    except ValueError as error:
        parser.error(f"every option is a whole number: {error}")
    return arguments.out, Path(inputs["data"]), settings


def train_tokenizer(texts: list[str], settings: Settings) -> Any:
    """Train a tokenizer that splits text as BERT does: lower case, words, word pieces."""
    words = tokenizers.BertWordPieceTokenizer()
    letters = sorted(set("".join(words.normalizer.normalize_str(text) for text in texts)) - {" "})
    # The trainer breaks ties by the order of a hash map, which differs in every process. Listing
    # the inner letters as special tokens fixes their ids, and so all later ones.
    inner = [f"##{letter}" for letter in letters]
    words.train_from_iterator(
        texts,
        vocab_size=settings.vocabulary,
        special_tokens=[*SPECIAL_TOKENS.values(), *inner],
        show_progress=False,
    )
    plain = tokenizers.BertWordPieceTokenizer(words.get_vocab())  # inner letters are not special
    return transformers.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=plain, model_max_length=settings.positions, **SPECIAL_TOKENS
    )


def random_model(vocabulary: int, settings: Settings) -> Any:
    """Return the untrained encoder; the recipe adds its own head."""
    torch.manual_seed(settings.seed)
    return transformers.BertModel(
        transformers.BertConfig(
            vocab_size=vocabulary,
            hidden_size=settings.hidden,
            intermediate_size=4 * settings.hidden,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=settings.positions,
        )
    )


if __name__ == "__main__":
    main()
