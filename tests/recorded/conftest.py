"""A server on loopback that replays recorded answers, byte by byte, and clients of every SDK."""

import asyncio
import contextlib
import json
import threading
from importlib import import_module

import pytest

WHOLE = 1 << 20


def streams(recording):
    """Return whether its answer is a stream of events."""
    asked = recording["ask"].get("stream") or recording["api"] == "generate stream"
    return asked and recording.get("status", 200) < 400


class Tape:
    """Answers each request with the recording that was put in, whatever it asks for.

    Attributes:
        recording: what is answered next.
        cut: bytes in a chunk of HTTP, which a client's reader gets one by one; None as recorded.
        watch: called when a request is here and nothing is answered yet.
        bodies: of the requests that came.
    """

    def __init__(self):
        self.recording, self.cut, self.watch, self.bodies = None, None, lambda: None, []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._connections = set()

    def __enter__(self):
        self._thread.start()
        starting = asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self):
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader, writer):
        task = asyncio.current_task()
        self._connections.add(task)
        try:
            while await self._answered(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has left
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answered(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = head.partition("content-length:")[2].partition("\r\n")[0]
        body = json.loads(await reader.readexactly(int(length)))
        self.bodies.append(body)
        self.watch()
        recording = self.recording
        kind = "text/event-stream; charset=utf-8" if streams(recording) else "application/json"
        headers = {"content-type": kind, "x-should-retry": "false", **recording.get("headers", {})}
        lines = [f"HTTP/1.1 {recording.get('status', 200)} Recorded", "transfer-encoding: chunked"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for chunk in self._chunks(body):
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if recording.get("broken"):
            await writer.drain()
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def _chunks(self, body):
        """Return the chunks: some are sent only if the request asks for the usage of a stream."""
        asked = (body.get("stream_options") or {}).get("include_usage")
        chunks = []
        for part in self.recording["body"]:
            if isinstance(part, str):
                chunks.append(part if asked else part.replace(',"usage":null', ""))
            elif asked:
                chunks.append(part["asked"])
        pieces = [chunk.encode() for chunk in chunks]
        if self.cut is None:
            return pieces
        whole = b"".join(pieces)
        return [whole[at : at + self.cut] for at in range(0, len(whole), self.cut)]


def _here(sdk_client, base, port):
    """Return an HTTP client, of the kind that an SDK uses, whose requests all come here."""
    http = import_module(sdk_client.__mro__[1].__module__.partition(".")[0])

    class Here(getattr(http, base)):
        def handle_request(self, request):
            request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=port)
            return super().handle_request(request)

        async def handle_async_request(self, request):
            request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=port)
            return await super().handle_async_request(request)

    kind = http.AsyncClient if base.startswith("Async") else http.Client
    return kind(transport=Here(trust_env=False))


class Clients:
    """Makes clients once: synchronous ones, and asynchronous ones for one event loop."""

    def __init__(self, port):
        self.runner = asyncio.Runner()
        self._port, self._made, self._http = port, {}, {}

    def of(self, server, *, asynchronous):
        key = server["client"], server["url"], asynchronous
        if key not in self._made:
            self._made[key] = getattr(self, f"_{server['client']}")(server["url"], asynchronous)
        return self._made[key]

    def close(self):
        for http in self._http.values():
            if hasattr(http, "aclose"):
                self.runner.run(http.aclose())
            else:
                http.close()
        self.runner.close()

    def _at(self, sdk, asynchronous):
        if (sdk, asynchronous) not in self._http:
            prefix, module = "Async" if asynchronous else "", import_module(sdk)
            kind = getattr(module, f"Default{prefix}HttpxClient")
            base = f"{prefix}HTTPTransport"
            self._http[sdk, asynchronous] = _here(kind, base, self._port)
        return {"http_client": self._http[sdk, asynchronous], "max_retries": 0}

    def _openai(self, url, asynchronous):
        import openai

        kind = openai.AsyncOpenAI if asynchronous else openai.OpenAI
        return kind(base_url=url, api_key="k", **self._at("openai", asynchronous))

    def _azure(self, url, asynchronous):
        import openai

        kind = openai.AsyncAzureOpenAI if asynchronous else openai.AzureOpenAI
        more = {"azure_endpoint": url, "api_version": "2024-10-21"}
        return kind(api_key="k", **more, **self._at("openai", asynchronous))

    def _anthropic(self, url, asynchronous):
        import anthropic

        kind = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
        return kind(base_url=url, api_key="k", **self._at("anthropic", asynchronous))

    def _bedrock(self, url, asynchronous):
        import anthropic

        pytest.importorskip("botocore")
        kind = anthropic.AsyncAnthropicBedrock if asynchronous else anthropic.AnthropicBedrock
        keys = {"aws_access_key": "k", "aws_secret_key": "k", "aws_region": "eu-central-1"}
        return kind(base_url=url, **keys, **self._at("anthropic", asynchronous))

    def _vertex(self, url, asynchronous):
        import anthropic

        kind = anthropic.AsyncAnthropicVertex if asynchronous else anthropic.AnthropicVertex
        keys = {"region": "global", "project_id": "p", "access_token": "k"}
        return kind(base_url=url, **keys, **self._at("anthropic", asynchronous))

    def _google(self, url, asynchronous):
        from google import genai
        from google.genai import types

        http = self._at("openai", asynchronous)["http_client"]
        if type(http).__module__.startswith("httpx2"):
            import httpx

            key = "google", asynchronous
            if key not in self._http:
                parent = type("D", (httpx.AsyncClient if asynchronous else httpx.Client,), {})
                base = "AsyncHTTPTransport" if asynchronous else "HTTPTransport"
                self._http[key] = _here(parent, base, self._port)
            http = self._http[key]
        name = "httpx_async_client" if asynchronous else "httpx_client"
        options = types.HttpOptions(base_url=url, **{name: http})
        vertex = {"vertexai": True} if "aiplatform" in url else {}
        return genai.Client(api_key="k", http_options=options, **vertex)


@pytest.fixture(scope="module")
def tape():
    with Tape() as running:
        yield running


@pytest.fixture(scope="module")
def clients(tape):
    made = Clients(tape.port)
    yield made
    with contextlib.suppress(RuntimeError):
        made.close()
