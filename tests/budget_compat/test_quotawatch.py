"""The documentation of QuotaWatch's Python SDK is true of this package, with only the import changed.

The snippets stand here as they stand there; what differs is said where they run.
"""

import asyncio
import subprocess
import sys
import threading

import httpx
import pytest

from budget_compat import quotawatch
from budget_compat.quotawatch import QuotaWatch
from budget_compat.quotawatch.types import ApiConfig, ApiLimits, QuotaWatchConfig
from budget_core.errors import QuotaExceeded

QUICK_EXAMPLE = """
from quotawatch import QuotaWatch
from quotawatch.types import QuotaWatchConfig, ApiConfig, ApiLimits

# Initialize once at startup
QuotaWatch.init(QuotaWatchConfig(
    api_key="qw_live_...",
    environment="production",
    apis=[
        ApiConfig(
            name="OpenAI",
            base_url="https://api.openai.com",
            limits=ApiLimits(
                requests_per_minute=60,
                requests_per_day=10_000,
            ),
        ),
    ],
))

# Your existing code — unchanged
import requests
response = requests.post(
    "https://api.openai.com/v1/chat/completions",
    headers={"Authorization": f"Bearer {OPENAI_API_KEY}"},
    json={"model": "gpt-4o", "messages": []},
)
"""

RECORD = """
from quotawatch import QuotaWatch
import time
from datetime import datetime, timezone

# Only needed for unpatched clients (aiohttp, vendor SDKs, etc.)
# Do NOT use this if you're already using requests or httpx — they're auto-intercepted.

qw = QuotaWatch.get_instance()
if qw:
    qw.record({
        "api": "MyAPI",
        "endpoint": "/v1/resource",
        "method": "POST",
        "status": 200,           # int, not statusCode
        "latencyMs": 142,
        "timestamp": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") +                      f"{datetime.now(timezone.utc).microsecond // 1000:03d}Z",
        "environment": "production",
        "hit429": False,
        "rateLimitHeaders": {},
    })
"""

SHUTDOWN = """
import atexit
from quotawatch import QuotaWatch

# Register flush on exit
atexit.register(lambda: QuotaWatch.get_instance() and QuotaWatch.get_instance().flush())

# Or with FastAPI lifespan
from contextlib import asynccontextmanager
from fastapi import FastAPI

@asynccontextmanager
async def lifespan(app: FastAPI):
    yield
    instance = QuotaWatch.get_instance()
    if instance:
        instance.flush()

app = FastAPI(lifespan=lifespan)
"""

DJANGO = """
# At the bottom of settings.py
from quotawatch import QuotaWatch
from quotawatch.types import QuotaWatchConfig, ApiConfig, ApiLimits

QuotaWatch.init(QuotaWatchConfig(
    api_key=env("QUOTAWATCH_API_KEY"),
    environment=env("DJANGO_ENV", default="production"),
    apis=[
        ApiConfig(
            name="OpenAI",
            base_url="https://api.openai.com",
            limits=ApiLimits(requests_per_day=10_000),
        ),
    ],
))
"""


@pytest.fixture(autouse=True)
def _ended(tmp_path, monkeypatch, collector):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("BUDGET_LEDGER", raising=False)
    yield
    if (instance := QuotaWatch.get_instance()) is not None:
        instance.destroy()


@pytest.fixture
def here(run, provider):
    """Run a snippet with the provider in place of OpenAI, and a key that the collector knows."""

    def here(snippet, **names):
        snippet = snippet.replace("https://api.openai.com", provider.url)
        return run(snippet.replace("qw_live_...", "key"), OPENAI_API_KEY="sk-secret", **names)

    return here


def configured(provider, **options):
    limits = options.pop("limits", ApiLimits())
    apis = [ApiConfig(name="OpenAI", base_url=provider.url, limits=limits)]
    return QuotaWatchConfig(api_key="key", apis=apis, **options)


def sent(collector):
    QuotaWatch.get_instance().flush()
    return collector.events


class TestSnippets:
    def test_quick_example(self, here, collector, provider):
        # it sends no messages, which OpenAI refuses as well
        assert here(QUICK_EXAMPLE)["response"].status_code == 400
        (event,) = sent(collector)
        assert event == {
            "api": "OpenAI",
            "endpoint": "/v1/chat/completions",
            "method": "POST",
            "status": 400,
            "latencyMs": event["latencyMs"],
            "timestamp": event["timestamp"],
            "environment": "production",
            "hit429": False,
            "rateLimitHeaders": {},
        }
        assert event["timestamp"].endswith("Z")
        assert "secret" not in repr(event)
        limits = {
            limit["limit"]: limit["used"]
            for limit in QuotaWatch.get_instance().watch.report()[0]["limits"]
        }
        assert limits == {"60 requests/minute": 1, "10,000 requests/day": 1}

    def test_manual_recording(self, run, here, collector):
        run(RECORD)  # nothing was begun, so nothing happens
        here(QUICK_EXAMPLE)
        run(RECORD)
        assert [event["api"] for event in sent(collector)] == ["OpenAI", "MyAPI"]

    def test_shutdown(self, run, provider, collector):
        QuotaWatch.init(configured(provider))
        # Starlette is what FastAPI is made of
        lasting = SHUTDOWN.replace(
            "from fastapi import FastAPI", "from starlette.applications import Starlette as FastAPI"
        )
        registered = []
        names = run(
            lasting.replace("atexit.register(", "registered.append("), registered=registered
        )

        async def served():
            async with names["lifespan"](names["app"]), httpx.AsyncClient() as http:
                await http.get(f"{provider.openai_url}/models")

        asyncio.run(served())
        assert len(collector.events) == 1
        httpx.get(f"{provider.openai_url}/models")
        registered[0]()
        assert len(collector.events) == 2

    def test_django(self, here, collector):
        settings = {"QUOTAWATCH_API_KEY": "key"}

        def env(name, default=None):
            return settings.get(name, default)

        here(DJANGO, env=env)
        config = QuotaWatch.get_instance().config
        assert (config.api_key, config.environment) == ("key", "production")


class TestSettings:
    def test_it_is_begun_once(self, provider, collector):
        begun = []
        threads = [
            threading.Thread(target=lambda: begun.append(QuotaWatch.init(configured(provider))))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(map(id, begun))) == 1
        assert QuotaWatch.get_instance() is begun[0]

    def test_defaults(self):
        config = QuotaWatchConfig(api_key="key", apis=[])
        assert (config.environment, config.buffer_size, config.flush_interval_seconds) == (
            "production",
            500,
            5.0,
        )

    def test_after_its_end_nothing_is_seen_and_another_can_begin(self, provider, collector):
        first = QuotaWatch.init(configured(provider))
        httpx.get(f"{provider.openai_url}/models")
        first.destroy()
        assert QuotaWatch.get_instance() is None
        assert len(collector.events) == 1
        httpx.get(f"{provider.openai_url}/models")
        assert QuotaWatch.init(configured(provider)) is not first
        assert sent(collector)[1:] == []

    def test_limits_are_only_counted_as_there(self, provider, collector):
        QuotaWatch.init(configured(provider, limits=ApiLimits(requests_per_day=1)))
        for _ in range(3):
            httpx.get(f"{provider.openai_url}/models")
        (limit,) = QuotaWatch.get_instance().watch.report()[0]["limits"]
        assert (limit["used"], limit["left"]) == (3, 0)

    def test_or_enforced(self, provider, collector):
        limits = ApiLimits(requests_per_day=1)
        QuotaWatch.init(configured(provider, limits=limits, on_limit="refuse"))
        httpx.get(f"{provider.openai_url}/models")
        with pytest.raises(QuotaExceeded):
            httpx.get(f"{provider.openai_url}/models")

    def test_every_limit_that_is_documented(self):
        limits = ApiLimits(1, 2, 3, 4, 5, 6, 7)
        assert [str(limit) for limit in ApiConfig("a", "https://a.example", limits).api().limits] == [
            "1 LLM call/minute", "2 LLM calls/hour", "3 LLM calls/day", "4 LLM calls/month",
            "5 tokens/minute", "6 tokens/day", "7 tokens/month",
        ]  # fmt: skip


class TestDelivery:
    @pytest.mark.parametrize("answer", [None, 500, 404])
    def test_a_collector_that_takes_nothing_harms_nobody(self, provider, receiver, answer):
        receiver.answers = [answer] * 99
        watching = QuotaWatch.init(
            configured(provider, ingest_url=receiver.url, buffer_size=10, flush_interval_seconds=0)
        )
        with httpx.Client(base_url=provider.openai_url) as http:
            http.get("/models")
            assert receiver.next().json["projectApiKey"] == "key"
            for _ in range(30):
                assert http.get("/models").status_code == 200
        counts = watching._sender.counts
        assert counts.sent == 0
        assert counts.waiting <= 11
        assert counts.dropped + counts.waiting == 31
        receiver.over.set()
        watching._sender.close(0)

    def test_a_process_that_ends_has_told_everything(self, provider, collector):
        script = f"""
from budget_compat.quotawatch import QuotaWatch, QuotaWatchConfig, ApiConfig
QuotaWatch.init(QuotaWatchConfig(api_key="key", apis=[ApiConfig("OpenAI", {provider.url!r})]))
import requests
for _ in range(3):
    requests.get({provider.openai_url!r} + "/models")
"""
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert len(collector.events) == 3


def test_the_names_are_those_that_are_documented():
    assert set(quotawatch.__all__) == {"ApiConfig", "ApiLimits", "QuotaWatch", "QuotaWatchConfig"}
