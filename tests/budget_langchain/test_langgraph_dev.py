"""`langgraph dev`, which refuses whatever blocks its event loop, with a budget for each thread."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from budget_core import AgentBudget
from budget_core.ledger.resolve import ledger_from
from budget_core.testing import Reply, ToolCall

ROOT = Path(__file__).parents[2]
LANGGRAPH = ROOT / ".venv-langgraph" / "bin" / "langgraph"
SERVED = Path(__file__).parent / "served"
THREADS, RUNS = 8, 3

pytestmark = pytest.mark.skipif(
    not LANGGRAPH.exists(),
    reason=f"{LANGGRAPH.relative_to(ROOT)} is missing: CONTRIBUTING.md says how to make it",
)


@pytest.fixture(params=["sqlite", "redis"])
def ledger(request, tmp_path):
    if request.param == "redis":
        return request.getfixturevalue("redis_url")
    return f"sqlite:///{tmp_path / 'budgets.db'}"


@pytest.fixture
def server(provider, ledger, tmp_path):
    """Run a server; yield its URL, and a function that reads what it has written."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, log = f"http://127.0.0.1:{port}", tmp_path / "log"
    environ = {
        **os.environ,
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "LANGSMITH_TRACING": "false",
        "LEDGER": ledger,
        "NO_PROXY": "127.0.0.1",
        "OPENAI_API_KEY": "test",
        "OPENAI_BASE_URL": provider.openai_url,
        "PYTHONPATH": str(ROOT / "src"),
        "XDG_STATE_HOME": str(tmp_path),
    }
    place = shutil.copytree(SERVED, tmp_path / "served")  # it writes beside the graphs
    command = [str(LANGGRAPH), "dev", "--no-browser", "--no-reload", "--port", str(port)]
    command += ["--n-jobs-per-worker", str(THREADS)]
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603
            command, cwd=place, env=environ, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"{url}/ok").is_success:
                        break
                assert process.poll() is None, log.read_text(encoding="utf-8")
                time.sleep(0.1)
            yield url, lambda: log.read_text(encoding="utf-8")
        finally:
            process.terminate()


async def run(client, graph, thread):
    asked = {"assistant_id": graph, "input": {"messages": [{"role": "user", "content": "go"}]}}
    answer = await client.post(f"/threads/{thread}/runs/wait", json=asked)
    return answer.json()


async def converse(client):
    """Begin a thread, and run the agent in it again and again; return its id and how runs ended."""
    thread = (await client.post("/threads", json={})).json()["thread_id"]
    ends = [await run(client, "agent", thread) for _ in range(RUNS)]
    return thread, [
        end["__error__"]["error"] if "__error__" in end else end["messages"][-1]["content"]
        for end in ends
    ]


async def test_each_thread_has_its_budget_and_nothing_blocks(server, provider, ledger):
    url, log = server

    def restless(incoming):
        tokens = {"input_tokens": 500, "output_tokens": 100}
        if not incoming.tools:
            return Reply("the end", **tokens)
        return Reply(tool_calls=[ToolCall("search", {"query": str(incoming.index)})], **tokens)

    provider.respond(restless)
    async with httpx.AsyncClient(base_url=url, timeout=300) as client:
        ended = await asyncio.gather(*(converse(client) for _ in range(THREADS)))
        blocked = await run(client, "blocking", ended[0][0])
    assert blocked["__error__"]["error"] == "BlockingError"  # it is on its guard
    assert log().count("Blocking call to") == log().count("Blocking call to time.sleep") > 0

    def check():
        """Ask the ledger, which blocks."""
        provider.wait_idle()
        kept = ledger_from(ledger)
        budget = AgentBudget("$0.02", ledger=kept, finalization_reserve="$0.005")
        sessions = [budget.session(thread) for thread, _ in ended]
        assert sum(session.spent_nanos for session in sessions) == provider.bill_nanos
        for session, (_, ends) in zip(sessions, ended, strict=True):
            assert ends == ["the end", *["SessionFinalized"] * (RUNS - 1)]
            assert 0.01 < session.spent <= 0.02
            assert session.reserved == 0
        assert kept.verify() == []

    await asyncio.to_thread(check)
