"""How money is asked for: blocking this thread, or awaiting while an event loop runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from budget_core import BudgetSession, Call, CallRequest

    Sessions = tuple[BudgetSession, ...]


class Asking(Protocol):
    """How money is asked for."""

    async def open(self, session: BudgetSession, request: CallRequest, joining: Sessions) -> Call:
        """Open a call (see `BudgetSession.open_call`)."""

    async def reprice(self, call: Call, request: CallRequest, joining: Sessions) -> None:
        """Price a call again (see `Call.reprice`)."""

    async def meter(self, call: Call, text: str) -> None:
        """Count output (see `Call.meter`)."""


class _Blocking:
    async def open(self, session: BudgetSession, request: CallRequest, joining: Sessions) -> Call:
        return session.open_call(request, joining=joining)

    async def reprice(self, call: Call, request: CallRequest, joining: Sessions) -> None:
        call.reprice(request, joining)

    async def meter(self, call: Call, text: str) -> None:
        call.meter(text)


class _Awaiting:
    async def open(self, session: BudgetSession, request: CallRequest, joining: Sessions) -> Call:
        return await session.open_call_async(request, joining=joining)

    async def reprice(self, call: Call, request: CallRequest, joining: Sessions) -> None:
        await call.reprice_async(request, joining)

    async def meter(self, call: Call, text: str) -> None:
        await call.meter_async(text)


BLOCKING: Final = _Blocking()
AWAITING: Final = _Awaiting()
