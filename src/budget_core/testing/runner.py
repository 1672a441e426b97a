"""A uvicorn in a daemon thread: its port is known at once, and it leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.server import ServerState

if TYPE_CHECKING:
    from starlette.types import ASGIApp

KEEP_ALIVE = 60
STOP_TIMEOUT = 10.0

_silent = logging.getLogger("budget_core.testing.uvicorn")
_silent.setLevel(logging.CRITICAL + 1)


class Runner:
    """Runs one ASGI application on loopback until it is stopped."""

    def __init__(self, app: ASGIApp, port: int = 0) -> None:
        self._app = app
        self._socket = _listen(port)
        self.port: int = self._socket.getsockname()[1]
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="budget-provider", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join(STOP_TIMEOUT)
            raise RuntimeError("the test provider did not start") from self._failure

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(STOP_TIMEOUT)
        if self._thread.is_alive():
            raise RuntimeError("the test provider hangs: does a sync responder block it?")

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._failure = error
            self._ready.set()
        finally:
            self._socket.close()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        # No lifespan, logs or signals: uvicorn's own Server configures logging for the whole
        # process and stops in steps of 0.1 s, so only its protocol is used.
        config = uvicorn.Config(
            self._app,
            lifespan="off",
            ws="none",
            log_config=None,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE,
        )
        config.load()
        state = ServerState()
        protocol = _quiet_protocol()
        server = await self._loop.create_server(
            lambda: protocol(config=config, server_state=state, app_state={}), sock=self._socket
        )
        self._ready.set()
        await self._stopping.wait()
        # a connection that asyncio still sets up when its server closes would stay open for ever
        self._loop.remove_reader(self._socket)
        await _close(state)
        server.close()
        await server.wait_closed()


def _listen(port: int) -> socket.socket:
    # asyncio switches Nagle's algorithm off only for sockets that name their protocol
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(2048)
    except OSError:
        listening.close()
        raise
    return listening


async def _close(state: ServerState) -> None:
    tasks = list(state.tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    this = {asyncio.current_task()}
    while state.connections or asyncio.all_tasks() > this:
        for connection in list(state.connections):
            with suppress(AttributeError):
                connection.transport.abort()
        await asyncio.sleep(0)  # uvicorn signals nothing; a few turns


def _quiet_protocol() -> Any:
    def init(self: Any, *args: Any, **options: Any) -> None:
        AutoHTTPProtocol.__init__(self, *args, **options)
        self.logger = _silent  # broken connections are on purpose here
        self.access_log = False

    return type("QuietProtocol", (AutoHTTPProtocol,), {"__init__": init})
