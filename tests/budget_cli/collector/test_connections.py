"""Connections that send nothing, or half a header: none stays, and none keeps others out."""

import contextlib
import socket
import threading

import httpx
import pytest
import uvicorn

from budget_cli.collector import build_app
from budget_cli.collector.connections import bounded
from budget_core import MemoryLedger


class Served:
    def __init__(self, **bounds):
        config = uvicorn.Config(
            build_app(MemoryLedger()), port=0, log_level="critical", http=bounded(**bounds)
        )
        self.server = uvicorn.Server(config)
        self.socket = config.bind_socket()
        self.socket.listen()
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join(20)
        self.socket.close()

    def connected(self, sent=b""):
        connection = socket.create_connection(("127.0.0.1", self.port), 20)
        connection.sendall(sent)
        return connection


def closed(connection):
    """Wait until the other side closes."""
    with connection, contextlib.suppress(ConnectionResetError):
        while connection.recv(9_999):
            pass
    return True


WHOLE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", b"POST /v1/in", b"POST /v1/ingest HTTP/1.1\r\nHost: x\r\n"])
def test_headers_that_do_not_come(sent):
    with Served(patience=0.05) as served:
        assert closed(served.connected(sent))


def test_headers_that_do_not_come_after_a_request():
    with Served(patience=0.2) as served:
        connection = served.connected(WHOLE)
        assert connection.recv(9_999).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /heal")
        assert closed(connection)


def test_headers_that_come_byte_by_byte():
    with (
        Served(patience=0.2) as served,
        served.connected() as connection,
        contextlib.suppress(ConnectionError),
    ):
        for _ in range(1_000):
            connection.sendall(b"X")
            connection.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                if not connection.recv(9):
                    break
        else:
            pytest.fail("it may go on for ever")


def test_those_who_say_nothing_keep_nobody_out():
    with Served(most=4, patience=60) as served:
        silent = [served.connected(b"GET /") for _ in range(12)]
        with httpx.Client(base_url=f"http://127.0.0.1:{served.port}") as http:
            for _ in range(3):
                assert http.get("/healthz").status_code == 200
        assert all(map(closed, silent[:8]))
        for left in silent[8:]:
            left.close()


def test_a_header_without_an_end():
    with Served(patience=60) as served:
        connection = served.connected(b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 200_000)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(99).startswith(b"HTTP/1.1 400")
        connection.close()
