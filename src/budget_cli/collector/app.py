"""The HTTP side of a collector."""

from __future__ import annotations

import hmac
import json
from asyncio import timeout
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from budget_cli.collector.payloads import Spend, events_in, key_in, key_near, spend_in
from budget_cli.collector.spending import Spending
from budget_core.errors import AgentBudgetError, InvalidBudget, LedgerUnavailable
from budget_core.money.usd import parse_usd

if TYPE_CHECKING:
    from budget_core.events.outbox import Outbox
    from budget_core.ledger import Ledger

T = TypeVar("T")

MAX_BODY: Final = 1_000_000
"""Bytes; a batch of a hundred events has some fifty thousand."""
MAX_EVENTS: Final = 5_000
HEAD: Final = 4_096
"""Bytes of a body in which its key has to be, where no header has one; the rest is not read."""


def build_app(
    ledger: Ledger,
    *,
    keys: Collection[str] = (),
    log: Outbox | None = None,
    max_body: int = MAX_BODY,
    patience: float = 30.0,
) -> Starlette:
    """Return the ASGI application of a collector.

    Args:
        ledger: where what was spent is charged.
        keys: any of them is an API key; without one, everybody may send.
        log: gets every event that was accepted, as it came.
        max_body: bytes that a request may have.
        patience: seconds in which its body has to come.

    Raises:
        ValueError: a key is empty, so that it would be everybody's.
    """
    if not all(keys):
        raise ValueError("An API key of a collector must not be empty.")
    collector = _Collector(Spending(ledger), frozenset(keys), log, max_body, patience)
    return Starlette(
        routes=[
            Route("/v1/ingest", collector.ingest, methods=["POST"]),
            Route("/v1/budget-check", collector.check),
            Route("/healthz", _healthy),
        ],
        exception_handlers={
            HTTPException: _refused,
            LedgerUnavailable: _unavailable,
            AgentBudgetError: _impossible,
        },
    )


class _Collector:
    """Its endpoints."""

    def __init__(
        self,
        spending: Spending,
        keys: frozenset[str],
        log: Outbox | None,
        max_body: int,
        patience: float,
    ) -> None:
        self._spending, self._keys, self._log = spending, keys, log
        self._max_body, self._patience = max_body, patience

    async def ingest(self, request: Request) -> Response:
        """Take a batch of events, or one; those that cannot be read are counted and left out."""
        document = _parsed(await self._body(request))
        self._authorize(_sent(request) or key_in(document))
        events = events_in(document)
        if events is None or len(events) > MAX_EVENTS:
            raise HTTPException(400, f"send an event, or {{'events': [up to {MAX_EVENTS}]}}")
        spends, read = _read(events)
        booked = await self._run(partial(self._spending.charge, spends))
        accepted = [event for event, kept in zip(read, booked, strict=True) if kept]
        if self._log is not None:
            for event in accepted:
                self._log.put(event)
        rejected = len(events) - len(accepted)
        return JSONResponse({"accepted": len(accepted), "rejected": rejected}, 202)

    async def check(self, request: Request) -> Response:
        self._authorize(_sent(request))
        asked = request.query_params
        session_id, limit = asked.get("session_id"), asked.get("limit_usd")
        if not session_id:
            raise HTTPException(400, "session_id= is missing")
        try:
            nanos = None if limit is None else parse_usd(limit)
        except InvalidBudget as error:
            raise HTTPException(400, str(error)) from None
        team = asked.get("team")
        return JSONResponse(
            await self._run(lambda: self._spending.standing(session_id, nanos, team))
        )

    async def _run(self, action: Callable[[], T]) -> T:
        return await run_in_threadpool(action) if self._spending.blocks else action()

    async def _body(self, request: Request) -> bytes:
        body, given = bytearray(), _sent(request)
        if known := given is not None or not self._keys:
            self._authorize(given)
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_body:
            raise _unread(413, f"a body may have {self._max_body} bytes")
        try:
            async with timeout(self._patience):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._max_body:
                        raise _unread(413, f"a body may have {self._max_body} bytes")
                    if not known and (known := len(body) >= HEAD):
                        self._authorize(key_near(bytes(body[:HEAD])))
        except ClientDisconnect:
            raise HTTPException(400, "the body is not whole") from None
        except TimeoutError:
            raise _unread(408, f"the body did not come in {self._patience} seconds") from None
        return bytes(body)

    def _authorize(self, given: str | None) -> None:
        """Refuse what is none of the keys; each is compared in constant time."""
        if not self._keys:
            return
        sent = (given or "").encode(errors="replace")
        known = [hmac.compare_digest(sent, key.encode()) for key in self._keys]
        if not any(known):
            raise _unread(401, "the API key is missing or not known")


def _sent(request: Request) -> str | None:
    """Return the key in a request's headers, None if there is no bearer token."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else None


def _unread(status: int, why: str) -> HTTPException:
    return HTTPException(status, why, {"Connection": "close"})


def _parsed(body: bytes) -> Any:
    """Read JSON; numbers that it has none of, as NaN, are null."""
    try:
        return json.loads(body, parse_constant=lambda _name: None)
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not JSON, or too deep") from None


def _read(events: Sequence[Any]) -> tuple[list[Spend | None], list[dict[str, Any]]]:
    """Return the events that could be read, and what each cost, None for nothing."""
    spends, accepted = [], []
    for event in events:
        if not isinstance(event, dict):
            continue
        try:
            spend = spend_in(event)
        except ValueError:
            continue
        accepted.append(event)
        spends.append(spend)
    return spends, accepted


async def _healthy(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _impossible(_request: Request, error: Exception) -> Response:
    """Answer that what was asked for cannot be, as an account of such a name."""
    return JSONResponse({"error": str(error)}, 400)


async def _unavailable(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 503)
