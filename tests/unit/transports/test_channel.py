from __future__ import annotations

import json

from launcher.transports.channel import Reassembler


def line(part: str, number: int, of: int, node: str = "host1") -> bytes:
    return json.dumps({"node": node, "part": part, "number": number, "of": of}).encode()


def test_a_message_in_parts_is_put_together_between_noise_and_other_nodes() -> None:
    reassembler = Reassembler()
    assert reassembler.add(line('{"a"', 0, 2)) is None
    assert reassembler.add(b"Welcome to host1!") is None
    assert reassembler.add(line('{"b": 2}', 0, 1, node="host2")) == ("host2", {"b": 2})
    assert reassembler.add(line(": 1}", 1, 2)) == ("host1", {"a": 1})


def test_a_message_that_lost_a_part_never_arrives_and_the_next_one_does() -> None:
    reassembler = Reassembler()
    assert reassembler.add(line('{"a": "x', 0, 3)) is None
    assert reassembler.add(b'{"node": "host1", "part": "yyy') is None  # cut on its way
    assert reassembler.add(line('z"}', 2, 3)) is None
    assert reassembler.add(line('{"b": 2}', 0, 1)) == ("host1", {"b": 2})


def test_a_message_of_which_only_the_end_arrives_never_arrives() -> None:
    assert Reassembler().add(line('{"b": 2}', 1, 2)) is None
