import asyncio
import threading

import aiohttp
import httpx
import httpx2
import pytest
import requests
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from budget_core.testing.runner import Runner


class AnApi:
    """An HTTP API on loopback: it counts what arrives, and answers as it was told to."""

    def __init__(self):
        self.paths = []
        self.status, self.headers, self.body = 200, {}, {"ok": True}
        self._lock = threading.Lock()
        self._runner = Runner(
            Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])])
        )

    async def _answer(self, request):
        await request.body()
        with self._lock:
            self.paths.append(request.url.path)
        headers = {"set-cookie": "session=hidden", "x-request-id": "hidden", **self.headers}
        if request.url.path == "/moved":
            return JSONResponse({}, 307, {**headers, "location": "/v1/items"})
        return JSONResponse(self.body, self.status, headers)

    @property
    def requests(self):
        return len(self.paths)

    @property
    def url(self):
        return f"http://127.0.0.1:{self._runner.port}"

    def start(self):
        self._runner.start()

    def stop(self):
        self._runner.stop()


@pytest.fixture
def api():
    running = AnApi()
    running.start()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path


def _awaiting(client):
    async def post(url, **options):
        async with client() as opened:
            return (await opened.post(url, **options)).status_code

    return lambda url, **options: asyncio.run(post(url, **options))


def _aiohttp(url, **options):
    async def post():
        async with aiohttp.ClientSession() as session, session.post(url, **options) as response:
            await response.read()
            return response.status

    return asyncio.run(post())


CLIENTS = {
    "requests": lambda url, **options: requests.post(url, timeout=10, **options).status_code,
    "httpx": lambda url, **options: httpx.post(url, **options).status_code,
    "httpx2": lambda url, **options: httpx2.post(url, **options).status_code,
    "async httpx": _awaiting(httpx.AsyncClient),
    "async httpx2": _awaiting(httpx2.AsyncClient),
    "aiohttp": _aiohttp,
}


@pytest.fixture(params=sorted(CLIENTS))
def post(request):
    """What posts to a URL by one of the clients, and returns the status."""
    return CLIENTS[request.param]
