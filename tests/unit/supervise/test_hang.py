from __future__ import annotations

from typing import Any

from launcher.specs import RankRecord, RankState
from launcher.supervise.hang import USUAL_STEPS, WIDER, HangDetector


def record(rank: int = 0, **changes: Any) -> RankRecord:
    values: dict[str, Any] = {
        "rank": rank,
        "local_rank": 0,
        "node_rank": rank,
        "node": f"local{rank}",
        "host": "h",
        "pid": 1,
        "attempt": 1,
        "state": RankState.RUNNING,
        "started_at": 0.0,
        "heartbeat_at": 0.0,
        "progress_at": 0.0,
        "phase": "train",
    }
    return RankRecord(**{**values, **changes})


def trained(detector: HangDetector, *, step_s: float, steps: int = 10) -> float:
    """Let the detector see some steps; return the time of the last."""
    for step in range(steps + 1):
        assert detector.look([record(step=step, progress_at=step * step_s)], step * step_s) is None
    return steps * step_s


def test_silence_beyond_the_timeout_is_a_hang() -> None:
    detector = HangDetector(10)
    now = trained(detector, step_s=0.1)
    silent = record(step=10, progress_at=now)
    assert detector.look([silent], now + 9.9) is None
    suspect = detector.look([silent], now + 10.1)
    assert suspect is not None
    assert (suspect.record.rank, suspect.limit_s, suspect.proven) == (0, 10, True)


def test_slow_steps_widen_the_limit() -> None:
    detector = HangDetector(10)
    now = trained(detector, step_s=5.0)
    silent = record(step=10, progress_at=now)
    assert detector.look([silent], now + 5 * USUAL_STEPS - 1) is None
    assert detector.look([silent], now + 5 * USUAL_STEPS + 1) is not None


def test_the_first_step_may_take_longer() -> None:
    detector = HangDetector(10)
    first = record(step=0, progress_at=0.0)
    assert detector.look([first], 10 * WIDER - 1) is None
    assert detector.look([first], 10 * WIDER + 1) is not None


def test_evaluation_and_saving_may_take_longer() -> None:
    for phase in ("eval", "save", "restore"):
        detector = HangDetector(10)
        now = trained(detector, step_s=0.1)
        busy = record(step=10, progress_at=now, phase=phase)
        assert detector.look([busy], now + 29) is None
        assert detector.look([busy], now + 31) is not None


def test_a_script_without_phases_gets_the_usual_limit_once_it_steps() -> None:
    detector = HangDetector(10)
    for step in range(5):
        detector.look([record(step=step, progress_at=float(step), phase="start")], float(step))
    silent = record(step=4, progress_at=4.0, phase="start")
    assert detector.look([silent], 25.0) is not None


def test_a_program_that_never_reports_proves_nothing_by_silence() -> None:
    detector = HangDetector(10)
    suspect = detector.look([record(phase="start"), record(1, phase="start")], 100.0)
    assert suspect is not None
    assert not suspect.proven


def test_one_reporting_rank_makes_the_silence_of_another_count() -> None:
    detector = HangDetector(10)
    records = [record(0, phase="start"), record(1, step=5, progress_at=99.0)]
    suspect = detector.look(records, 100.0)
    assert suspect is not None
    assert (suspect.record.rank, suspect.proven) == (0, True)


def test_the_longest_silent_rank_is_suspected() -> None:
    detector = HangDetector(10)
    records = [record(0, step=5, progress_at=50.0), record(1, step=5, progress_at=40.0)]
    suspect = detector.look(records, 200.0)
    assert suspect is not None
    assert suspect.record.rank == 1


def test_ranks_that_ended_or_failed_do_not_hang() -> None:
    detector = HangDetector(10)
    records = [record(0, state=RankState.DONE), record(1, state=RankState.FAILED)]
    assert detector.look(records, 1e6) is None


def test_a_timeout_of_0_never_suspects() -> None:
    assert HangDetector(0).look([record()], 1e9) is None
