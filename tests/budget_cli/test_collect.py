"""``budget collect``: a collector as people start it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from budget_core.ledger import ledger_from

CALL = {"type": "call", "kind": "llm", "name": "gpt-4o", "session_id": "s", "cost": 0.25}


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_it_collects_until_it_is_interrupted(tmp_path, port, interruptible):
    url, log = f"sqlite:///{tmp_path}/budgets.db", tmp_path / "events.jsonl"
    command = [sys.executable, "-m", "budget_cli", "collect", "--ledger", url]
    command += ["--port", str(port), "--log", str(log)]
    environ = {**os.environ, "BUDGET_COLLECT_KEY": "key"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ) as process:  # noqa: S603
        assert f"collecting on http://127.0.0.1:{port} into" in process.stderr.readline()
        headers = {"Authorization": "Bearer key"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as http:
            _wait_for(http, process)
            assert http.post("/v1/ingest", json=CALL).status_code == 202
            told = http.get("/v1/budget-check", params={"session_id": "s", "limit_usd": 0.25})
            assert told.json()["exceeded"]
            assert httpx.get(http.base_url.join("/v1/budget-check?session_id=s")).status_code == 401
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert [json.loads(line) for line in log.read_text().splitlines()] == [CALL]
    ledger = ledger_from(url)
    assert ledger.balance("watched:s").spent.usd == 250_000_000
    ledger.close_connection()


def _wait_for(http, process):
    until = time.monotonic() + 30
    while True:
        try:
            assert http.get("/healthz").json() == {"status": "ok"}
        except httpx.ConnectError:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        else:
            return


def test_strangers_need_a_key(budget, tmp_path):
    url = f"sqlite:///{tmp_path}/budgets.db"
    shown = budget("collect", "--ledger", url, "--host", "0.0.0.0")  # noqa: S104
    assert shown.exit_code == 1
    assert "pass --key, or set BUDGET_COLLECT_KEY" in shown.stderr


def test_a_key_must_not_be_empty(budget, tmp_path):
    shown = budget("collect", "--ledger", f"sqlite:///{tmp_path}/b.db", "--key", "")
    assert "must not be empty" in shown.stderr


def test_it_needs_a_ledger(budget, monkeypatch):
    monkeypatch.delenv("BUDGET_LEDGER", raising=False)
    shown = budget("collect")
    assert shown.exit_code == 1
    assert "which ledger?" in shown.stderr


def test_without_the_extra_the_error_says_what_to_install(budget, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    shown = budget("collect", "--ledger", "memory://")
    assert shown.exit_code == 1
    assert "uvicorn is missing; run: pip install 'budget-suite[collector]'" in shown.stderr
