"""Connections of a server open to all: a limited number, and none that stays silent."""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from typing import ClassVar, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS: Final = 512
PATIENCE: Final = 10.0
"""Seconds in which the headers of a request have to come."""


class Bounded(H11Protocol):
    """A connection that is closed unless it sends whole requests; see `bounded`."""

    most: ClassVar[int]
    patience: ClassVar[float]
    silent: ClassVar[dict[Bounded, None]]
    """Those that have not sent a whole request yet, oldest first."""
    _deadline: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            next(iter(self.silent), self).transport.abort()
        self._wait()

    def data_received(self, data: bytes) -> None:
        if not self._asked():
            self._wait()
        super().data_received(data)
        if self._asked():
            self._done()

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()
        super().connection_lost(exc)

    def _asked(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        if self._deadline is None:
            self.silent[self] = None
            self._deadline = self.loop.call_later(self.patience, self.transport.abort)

    def _done(self) -> None:
        self.silent.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def bounded(most: int = MOST_CONNECTIONS, patience: float = PATIENCE) -> type[Bounded]:
    """Return a protocol for `uvicorn.Config(http=...)`. A header may have 64 kB, as in h11.

    Args:
        most: connections at a time. One more, and that which has waited longest without a whole
            request is closed; if there is none, the new one.
        patience: seconds in which the headers of each request have to be whole.
    """
    return type("Bounded", (Bounded,), {"most": most, "patience": patience, "silent": {}})
