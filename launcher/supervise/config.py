"""The keys `supervise.*` of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.errors import require

__all__ = ["SuperviseConfig"]


@dataclass(frozen=True, kw_only=True)
class SuperviseConfig:
    """What happens when ranks fail, hang or are asked to stop."""

    max_restarts: int = 3
    """Restarts in a row without a new checkpoint before the run fails."""
    grace_s: float = 60.0
    """Seconds that ranks get to save a checkpoint and exit before they are killed."""
    hang_timeout_s: float = 600.0
    """Seconds without progress after which a rank counts as hung; 0 switches this check off."""
    lost_after_s: float = 20.0
    """Seconds without a heartbeat after which a node counts as lost."""
    echo: bool = True
    """Show what rank 0 prints."""

    def __post_init__(self) -> None:
        for name in ("max_restarts", "grace_s", "hang_timeout_s"):
            value = getattr(self, name)
            require(f"supervise.{name}", value, ok=value >= 0, reason="it cannot be negative")
        require(
            "supervise.lost_after_s",
            self.lost_after_s,
            ok=self.lost_after_s >= 1,
            reason="nodes send a heartbeat about once a second",
        )
