"""What is being staged, as it is drawn."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_WINDOW_S = 10.0


@dataclass
class ItemView:
    """One item on its way. Changed by staging's one telling thread, read by the drawing one."""

    name: str
    uri: str
    total: int | None
    began: float
    done: int = 0
    unit: str = "B"
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def advance(self, done: int, now: float) -> None:
        """Take note that `done` units are there now."""
        self.done = done
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW_S:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """Rate over the last seconds."""
        if len(self._seen) < 2:
            return None
        (first_at, first), (last_at, last) = self._seen[0], self._seen[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else None

    @property
    def left_s(self) -> float | None:
        """Seconds until it is there, None while nobody can know."""
        rate = self.per_second
        return None if not rate or not self.total else max(0, self.total - self.done) / rate
