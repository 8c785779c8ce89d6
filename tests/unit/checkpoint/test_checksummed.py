"""JSON that notices a changed bit."""

from __future__ import annotations

import json

import pytest

from launcher.checkpoint.checksummed import decode_record, encode_record
from launcher.checkpoint.layout import CommitKey, GenerationRecord

RECORD = GenerationRecord(
    generation=3, token="ab12", base=CommitKey(2, 40), created_at=1.25, info={"engine": "torchrun"}
)


def test_a_record_comes_back_as_it_was() -> None:
    assert decode_record(GenerationRecord, encode_record(RECORD)) == RECORD


def test_the_file_is_plain_json() -> None:
    assert json.loads(encode_record(RECORD))["base"] == {"generation": 2, "step": 40}


def test_every_single_changed_bit_is_noticed() -> None:
    raw = encode_record(RECORD)
    for at in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(ValueError, match="checksum"):
            decode_record(GenerationRecord, bytes(changed))


@pytest.mark.parametrize("keep", [0, 1, 40, 100])
def test_a_file_cut_short_is_noticed(keep: int) -> None:
    with pytest.raises(ValueError, match="checksum"):
        decode_record(GenerationRecord, encode_record(RECORD)[:keep])
