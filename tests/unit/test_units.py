"""One table of every way in which the launcher writes a number."""

from __future__ import annotations

import time
from typing import Any

import pytest
from rich.cells import cell_len

from launcher import units
from tests.shell import typed_in_bash

DASH = [(units.loss, None, "-"), (units.rate, None, "-"), (units.clock, None, "-:--")]
NUMBERS = {
    0: "0",
    3: "3",
    400: "400",
    12_400: "12,400",
    12_400.6: "12,401",
    999.96: "1,000",
    150.25: "150.2",
    99.996: "100",
    93.824: "93.82",
    0.79621: "0.7962",
    -0.5: "-0.5",
    -0.00002: "-2e-5",
    0.00015: "1.5e-4",
    0.001: "0.001",
    float("nan"): "nan",
    float("inf"): "inf",
}
VALUES = {0.91234567: "0.9123", 12_345.678: "12,346", True: "True", "best": "best", 1200: "1,200"}
LOSSES = {2.3: "2.3000", 0.123456: "0.1235"}
RATES = {
    0.416: "0.42",
    8.312: "8.31",
    9.996: "10.0",
    38.14: "38.1",
    152.4: "152",
    12345.0: "12,345",
}
SIZES = {
    0: "0 B",
    999: "999 B",
    1000: "1.0 kB",
    999_600: "1.0 MB",
    83_506_384: "83.5 MB",
    99_960_000: "100 MB",
    123_456_789: "123 MB",
    2.5e12: "2.5 TB",
    3e18: "3000 PB",
}
BANDWIDTHS = {527e6: "527 MB/s", 1.04e9: "1.0 GB/s"}
LATENCIES = {0.00008: "0.08 ms", 0.0083: "8.30 ms", 0.05: "50.0 ms", 0.152: "152 ms"}
DURATIONS = {
    0.26: "0.3 s",
    9.94: "9.9 s",
    9.96: "10 s",
    48.2: "48 s",
    59.7: "1 min",
    60: "1 min",
    151: "2 min 31 s",
    3599.7: "1 h 00 min",
    7620: "2 h 07 min",
    360_000: "100 h 00 min",
}
CLOCKS = {-3: "0:00", 0: "0:00", 92: "1:32", 3599.6: "1:00:00", 7390: "2:03:10"}

TABLE = [
    *DASH,
    *((units.number, given, text) for given, text in NUMBERS.items()),
    *((units.value, given, text) for given, text in VALUES.items()),
    *((units.loss, given, text) for given, text in LOSSES.items()),
    *((units.rate, given, text) for given, text in RATES.items()),
    *((units.size, given, text) for given, text in SIZES.items()),
    *((units.bandwidth, given, text) for given, text in BANDWIDTHS.items()),
    *((units.latency, given, text) for given, text in LATENCIES.items()),
    *((units.duration, given, text) for given, text in DURATIONS.items()),
    *((units.clock, given, text) for given, text in CLOCKS.items()),
]


@pytest.mark.parametrize(
    ("write", "given", "text"), TABLE, ids=[f"{row[0].__name__}({row[1]})" for row in TABLE]
)
def test_numbers_are_written_as_people_read_them(write: Any, given: Any, text: str) -> None:
    assert write(given) == text


def test_one_thing_is_not_plural() -> None:
    assert [units.count(n, "file") for n in (0, 1, 13)] == ["0 files", "1 file", "13 files"]


def test_a_moment_is_in_the_time_zone_of_this_machine() -> None:
    at = time.mktime((2026, 3, 14, 15, 9, 26, 0, 0, -1))
    assert units.moment(at) == "2026-03-14 15:09:26"
    assert units.time_of_day(at) == "15:09:26"


@pytest.mark.parametrize(
    "name",
    [
        "n",
        "192.168.1.10",
        "a-host.with-a-long-name.example.org",
        "2001:db8:1234:5678:9abc:def0:1234:5678",
        "g" * 300,
        "節点一",
        "узел",
        "cafe\u0301",
        "🦊",
    ],
)
def test_columns_never_run_together_and_start_at_the_same_place(name: str) -> None:
    lines = units.columns([("node", "role"), (name, "head"), ("b", "worker")])
    starts = {cell_len(line[: line.index(role)]) for line, role in zip(lines, _ROLES, strict=True)}
    assert starts == {max(cell_len(name), len("node")) + 2}


_ROLES = ("role", "head", "worker")


@pytest.mark.process
def test_a_command_can_be_pasted_and_shows_its_control_characters() -> None:
    words = ["plain", "a b", "it's", "", "\x1b[31m'\\", "\x85\u202e", "two\nlines", "$HOME"]
    line = units.shell_line(words)
    assert typed_in_bash(line) == words
    assert not units.CONTROLS.search(line)
    assert line.startswith("plain 'a b' ")
