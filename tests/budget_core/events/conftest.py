"""A real receiver of webhooks and batches on loopback, which can be told to misbehave."""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest


class Got(NamedTuple):
    path: str
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Receiver(ThreadingHTTPServer):
    """Answers with `answers` in turn, then 204; None hangs until the test is over."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.answers, self.got = [], queue.Queue()
        self.over, self.hung = threading.Event(), threading.Semaphore(0)

    def next(self):
        return self.got.get(timeout=20)

    def all(self):
        return [self.got.get_nowait() for _ in range(self.got.qsize())]

    def handle_error(self, request, client_address):
        """A client that went away is what the tests are about."""


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.answers.pop(0) if self.server.answers else 204
        self.server.got.put(Got(self.path, dict(self.headers), body))
        if answer is None:
            self.server.hung.release()
            self.server.over.wait(20)
            return
        self.send_response(answer)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()
