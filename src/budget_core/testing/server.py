"""The HTTP side: every request, from its arrival until its exchange is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from budget_core.testing.exchange import Exchange
from budget_core.testing.routes import wires
from budget_core.testing.wire import Json, Refusal, Wire

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from budget_core.testing.reply import Incoming
    from budget_core.testing.script import Script

SECRETS = frozenset(
    {"authorization", "x-api-key", "api-key", "x-goog-api-key", "x-amz-security-token"}
)


def build_app(script: Script) -> Starlette:
    routes = [
        Route(path, Endpoint(script, wire), methods=["POST"]) for path, wire in wires().items()
    ]

    async def models(request: Request) -> JSONResponse:  # noqa: ARG001
        names = script.catalogue.models()
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "test"} for name in names]
        return JSONResponse({"object": "list", "data": data})

    nowhere = Route("/{path:path}", Endpoint(script, NowhereWire()), methods=["POST"])
    return Starlette(routes=[*routes, Route("/v1/models", models), nowhere])


class NowhereWire(Wire):
    """Any other path: refused."""

    def read(self, index: int, path: str, body: Json) -> Incoming:  # noqa: ARG002
        raise Refusal(404, f"unknown path: {path}")


class Endpoint:
    """An ASGI endpoint that speaks one wire format."""

    def __init__(self, script: Script, wire: Wire) -> None:
        self._script = script
        self._wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            raw = await request.body()
        except ClientDisconnect:
            return
        headers = {k: v for k, v in request.headers.items() if k not in SECRETS}
        entry = self._script.book.arrive(scope["path"], headers)
        exchange = Exchange(self._script, self._wire, entry, receive, send)
        try:
            await exchange.run(request, raw)
        except Refusal as refusal:
            entry.settle(status=refusal.status)
            await exchange.refuse(refusal.status, str(refusal), refusal.code)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - a fake model may raise pytest.fail too
            self._script.errors.append(error)
            entry.settle(status=500)
            await exchange.refuse(500, f"the fake model failed: {error!r}", None)
        finally:
            exchange.end()
