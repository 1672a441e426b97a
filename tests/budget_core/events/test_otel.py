"""What a collector gets: real SDK, real exporter, and OTLP over HTTP to a receiver on loopback."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from budget_core import (
    AgentBudget,
    BudgetExhausted,
    CallRequest,
    MemoryLedger,
    Prompt,
    Receipt,
    Usage,
)
from budget_core.events.otel import OpenTelemetry

SECRET = "my prompt that nobody else may read"  # noqa: S105


@pytest.fixture
def otel(receiver, monkeypatch):
    """OpenTelemetry, set up as programs do it, and what its collector has got."""
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)  # CrewAI's tests set it
    tracing = TracerProvider()
    exporter = OTLPSpanExporter(f"{receiver.url}v1/traces")
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    reader = PeriodicExportingMetricReader(
        OTLPMetricExporter(f"{receiver.url}v1/metrics"), export_interval_millis=3_600_000
    )
    metering = MeterProvider([reader])

    def spans():
        return [
            span
            for got in receiver.all()
            if got.path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(got.body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def told():
        receiver.all()
        metering.force_flush()
        return {
            metric.name: metric
            for got in receiver.all()
            if got.path == "/v1/metrics"
            for resource in ExportMetricsServiceRequest.FromString(got.body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    yield SimpleNamespace(
        listener=OpenTelemetry(tracing, metering),
        flush=metering.force_flush,
        tracer=tracing.get_tracer("a program"),
        spans=spans,
        told=told,
        metrics=lambda: {name: _points(metric) for name, metric in told().items()},
    )
    tracing.shutdown()
    metering.shutdown()


def _points(metric):
    """Return a metric's values by their labels; of a histogram its sum."""
    values = {
        "sum": lambda point: point.as_double or point.as_int,
        "histogram": lambda point: point.sum,
    }
    kind = metric.WhichOneof("data")
    value = values.get(kind, values["sum"])
    points = getattr(metric, kind).data_points
    return {frozenset(_attributes(point).items()): value(point) for point in points}


def _attributes(told):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in told.attributes}


def ask(session, **options):
    prompt = Prompt([{"role": "user", "content": SECRET}])
    request = {"model": "gpt-4o-mini", "provider": "azure", "prompt": prompt, "agent": "writer"}
    return session.open_call(CallRequest(**{**request, **options}))


USAGE = Usage(input=100, output=50, cache_read=40, reasoning=20)


class TestSpans:
    def test_a_call_is_a_span_of_the_one_around_it(self, otel):
        session = AgentBudget("$1", listeners=[otel.listener]).session("s-1")
        with otel.tracer.start_as_current_span("agent"):
            call = ask(session)
            call.settle(Receipt(USAGE, "gpt-4o-mini-2024-07-18"))
        span, outer = otel.spans()
        assert (span.name, outer.name) == ("chat gpt-4o-mini", "agent")
        assert span.parent_span_id == outer.span_id
        assert span.trace_id == outer.trace_id
        assert outer.start_time_unix_nano - 1e6 <= span.start_time_unix_nano
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        assert _attributes(span) == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "azure.ai.openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
            "gen_ai.conversation.id": "s-1",
            "gen_ai.agent.name": "writer",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 50,
            "gen_ai.usage.cache_read.input_tokens": 40,
            "gen_ai.usage.cache_creation.input_tokens": 0,
            "gen_ai.usage.reasoning.output_tokens": 20,
            "budget.cost.usd": session.spent,
            "budget.priced": True,
        }

    def test_so_is_a_tool_and_an_embedding(self, otel):
        session = AgentBudget("$1", listeners=[otel.listener]).session("s-1")
        session.track(cost="0.01", tool_name="search")
        ask(session, model="text-embedding-3-small", agent=None).settle(Usage(input=5))
        tool, embedding = otel.spans()
        assert (tool.name, embedding.name) == (
            "execute_tool search",
            "embeddings text-embedding-3-small",
        )
        assert _attributes(tool)["gen_ai.tool.name"] == "search"
        assert "gen_ai.agent.name" not in _attributes(embedding)

    def test_limits_are_told_to_the_span_in_which_they_are_met(self, otel):
        session = AgentBudget("$1", listeners=[otel.listener], warning_thresholds=[]).session("s-1")
        with otel.tracer.start_as_current_span("agent"):
            session.track(cost="0.95")
            with pytest.raises(BudgetExhausted):
                session.track(cost="0.10")
        events = {event.name: _attributes(event) for event in otel.spans()[-1].events}
        assert events["budget.soft_limit"]["budget.share"] == 0.9
        assert events["budget.hard_limit"] == {
            "budget.unit": "usd",
            "gen_ai.conversation.id": "s-1",
        }

    def test_texts_are_told_to_nobody(self, otel, receiver):
        session = AgentBudget("$1", listeners=[otel.listener]).session()
        ask(session).settle({"usage": {"prompt_tokens": 1, "completion_tokens": 1}, "text": SECRET})
        with pytest.raises(BudgetExhausted):
            ask(session, input_tokens=10**9)
        otel.flush()
        got = [one.body for one in receiver.all()]
        assert len(got) > 1
        assert not any(SECRET.encode() in body for body in got)


class TestMetrics:
    def test_spend_tokens_and_time_by_model(self, otel):
        session = AgentBudget("$1", listeners=[otel.listener]).session()
        for _ in range(2):
            ask(session).settle(USAGE)
        session.track(cost="0.25", tool_name="search")
        got = otel.metrics()
        model = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "azure.ai.openai",
            "gen_ai.request.model": "gpt-4o-mini",
        }
        tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}
        spend = got["budget.spend.usd"]
        assert spend[frozenset(tool.items())] == 0.25
        assert sum(spend.values()) == pytest.approx(session.spent)
        tokens = got["gen_ai.client.token.usage"]
        assert tokens[frozenset({**model, "gen_ai.token.type": "input"}.items())] == 200
        assert tokens[frozenset({**model, "gen_ai.token.type": "output"}.items())] == 100
        assert got["gen_ai.client.operation.duration"].keys() == spend.keys() - {
            frozenset(tool.items())
        }
        assert list(got["gen_ai.execute_tool.duration"]) == [
            frozenset({("gen_ai.tool.name", "search")})
        ]

    def test_they_are_built_as_the_conventions_say(self, otel):
        session = AgentBudget("$1", listeners=[otel.listener], unknown_model="allow").session()
        with session.child_session() as child:
            ask(child).settle(USAGE)
        ask(session, model="nobody-knows").settle(USAGE)
        session.track(cost="0.95")
        with pytest.raises(BudgetExhausted):
            ask(session, input_tokens=10**9)
        told = otel.told()
        for name, unit in (
            ("budget.spend.usd", "{usd}"),
            ("budget.denials", "{call}"),
            ("budget.events", "{event}"),
            ("budget.unpriced.calls", "{call}"),
        ):
            assert (told[name].unit, told[name].sum.is_monotonic) == (unit, True)
        tokens = told["gen_ai.client.token.usage"]
        seconds = told["gen_ai.client.operation.duration"]
        assert (tokens.unit, seconds.unit) == ("{token}", "s")
        calls = [point.count for point in seconds.histogram.data_points]
        assert calls == [1, 1]  # that of a child is no call of its parent as well
        bounds = list(tokens.histogram.data_points[0].explicit_bounds)
        assert bounds == [
            1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864
        ]  # fmt: skip
        bounds = list(seconds.histogram.data_points[0].explicit_bounds)
        assert bounds == pytest.approx(
            [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
        )

    def test_denials_by_their_reason_and_events_by_their_kind(self, otel):
        session = AgentBudget("$1", listeners=[otel.listener], warning_thresholds=[]).session()
        session.track(cost="0.95")
        for _ in range(2):
            with pytest.raises(BudgetExhausted):
                session.open_call(CallRequest(kind="tool", name="t", cost=10**9))
        session.cancel()
        with pytest.raises(BudgetExhausted):
            ask(session)
        got = otel.metrics()
        assert got["budget.denials"] == {
            frozenset({("reason", "usd")}): 2,
            frozenset({("reason", "cancelled")}): 1,
        }
        events = {dict(labels)["event"]: count for labels, count in got["budget.events"].items()}
        assert events == {"soft_limit": 1, "hard_limit": 1, "cancelled": 1}

    def test_limits_and_what_is_held_of_the_budgets_that_are_open(self, otel):
        budget = AgentBudget("$2", listeners=[otel.listener])
        with (
            budget.session() as one,
            AgentBudget("$3", parent=None, listeners=[otel.listener]).session() as other,
        ):
            one.child_session("$1").track(cost="0.01")
            other.track(cost="0.01")
            call = one.open_call(CallRequest(kind="tool", name="t", cost=500_000_000))
            got = otel.metrics()
            assert got["budget.limit.usd"] == {frozenset(): 5.0}
            assert got["budget.reserved.usd"] == {frozenset(): 0.5}
            call.release()
        assert otel.metrics()["budget.limit.usd"] == {frozenset(): 0}

    def test_sessions_of_one_account_count_once(self, otel):
        budget = AgentBudget("$2", listeners=[otel.listener], ledger=MemoryLedger())
        sessions = [budget.session("one"), budget.session("one")]
        for session in sessions:
            session.track(cost="0.01")
        got = otel.metrics()
        assert got["budget.limit.usd"] == {frozenset(): 2.0}
        assert sum(got["budget.spend.usd"].values()) == 0.02

    def test_what_has_no_price_is_counted(self, otel):
        budget = AgentBudget("$1", listeners=[otel.listener], unknown_model="allow")
        ask(budget.session(), model="nobody-knows", provider=None).settle(USAGE)
        assert sum(otel.metrics()["budget.unpriced.calls"].values()) == 1


def test_without_an_sdk_it_costs_nothing_and_breaks_nothing():
    session = AgentBudget("$1", listeners=[OpenTelemetry()]).session()
    session.track(cost="0.95")
    assert session.spent == 0.95


def test_without_the_extra_the_error_names_it():
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "try: import budget_core.events.otel\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "Spans and metrics need: pip install 'budget-suite[otel]'\n"
