from __future__ import annotations

import pytest

from launcher.report.scale import Scale, smooth, thin


def test_ticks_are_round_and_inside() -> None:
    scale = Scale.of([0.29, 0.81])
    assert scale.ticks() == pytest.approx([0.4, 0.6, 0.8])
    assert scale.place(scale.low) == 0
    assert scale.place(scale.high) == 1


def test_decades_make_a_logarithmic_axis_only_where_allowed() -> None:
    assert Scale.of([0.001, 10], log=True).logarithmic
    assert not Scale.of([0.001, 10]).logarithmic
    assert Scale.of([0.001, 10], log=True).ticks() == pytest.approx([0.001, 0.01, 0.1, 1, 10])


def test_equal_values_still_span_an_axis() -> None:
    assert Scale.of([3.0, 3.0]).place(3.0) == 0.5


def test_thinning_keeps_the_extremes_and_the_order() -> None:
    points = [(float(x), 100.0 if x == 5_003 else float(x % 7)) for x in range(10_000)]
    thinned = thin(points, 500)
    assert len(thinned) <= 502
    assert (5_003.0, 100.0) in thinned
    assert thinned == sorted(thinned)


def test_smoothing_does_not_shift_a_straight_line() -> None:
    points = [(float(x), 2.0 * x) for x in range(1_000)]
    assert [y for _, y in smooth(points)] == pytest.approx([y for _, y in points])
