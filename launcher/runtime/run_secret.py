"""The secret of an attempt: how its ranks recognise each other.

The libraries that connect ranks accept every program that reaches their ports. So nothing that
came over the network is unpickled, and no address of a peer is used, before its seal was checked.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from launcher.errors import TrainingError
from launcher.specs.secrets import RUN_SECRET

__all__ = ["RunSecret"]

_HASH = "sha256"
_TAG_BYTES = 32


class RunSecret:
    """Seals messages with the secret of the attempt, and checks the seals of others.

    Every seal is for one purpose, which names the message and its sender, so that a sealed message
    cannot be replayed as another one. Under a foreign launcher there is no secret, unless the user
    exports one: a seal then proves only that the message is the expected one.
    """

    def __init__(self, secret: str) -> None:
        self._key = secret.encode()

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> RunSecret:
        return cls(environ.get(RUN_SECRET, ""))

    def seal(self, purpose: str, message: bytes) -> bytes:
        """Return `message` with its seal."""
        return self._tag(purpose, message) + message

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """Return the message in `sealed`.

        Raises:
            TrainingError: no rank of this attempt sealed it for `purpose`.
        """
        tag, message = sealed[:_TAG_BYTES], sealed[_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(purpose, message)):
            raise TrainingError(
                f"refused {purpose}: it does not come from a rank of this attempt",
                context=f"its seal does not match {RUN_SECRET}",
                hint="another program uses the ports of this run, or the ranks have different "
                f"values of {RUN_SECRET}; see docs/ports.md",
            )
        return message

    def token(self, purpose: str) -> str:
        """Return a word that only the processes of this attempt know. It is not the secret."""
        return self._tag(purpose, b"").hex()

    def _tag(self, purpose: str, message: bytes) -> bytes:
        return hmac.digest(self._key, purpose.encode() + b"\0" + message, _HASH)
