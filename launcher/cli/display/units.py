"""Numbers as people read them. Pure."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(n_bytes: float) -> str:
    """Return a size in decimal units, as disks and links are sold: `83.5 MB`."""
    amount = float(n_bytes)
    for unit in _UNITS:
        if amount < 999.5 or unit == _UNITS[-1]:
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"


def count(number: int, what: str) -> str:
    """Return how many there are: `1 file`, `13 files`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def clock(seconds: float | None) -> str:
    """Return a time that is left or went by: `1:32`, `2:03:10`; `-:--` when nobody knows."""
    if seconds is None:
        return "-:--"
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def duration(seconds: float) -> str:
    """Return how long something took: `0.3 s`, `48 s`, `2 min 31 s`, `3 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s".removesuffix(" 00 s")
    return f"{whole // 3600} h {whole // 60 % 60:02d} min"


def rate(per_second: float | None) -> str:
    """Return a rate with three digits that matter: `0.42`, `8.31`, `152`."""
    if per_second is None:
        return "-"
    if per_second >= 99.95:
        return f"{per_second:,.0f}"
    return f"{per_second:.1f}" if per_second >= 9.995 else f"{per_second:.2f}"


def value(number: object) -> str:
    """Return a result for the eye: four digits that matter of a float, everything else as it is."""
    return f"{number:.4g}" if isinstance(number, float) else str(number)


def loss(number: float | None) -> str:
    """Return a loss, or a dash."""
    return "-" if number is None else f"{number:.4f}"
