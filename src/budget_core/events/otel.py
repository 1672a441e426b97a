"""Spans and metrics of what calls cost, through OpenTelemetry's API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import version
from typing import Any

from budget_core.events import semconv
from budget_core.events.types import Event, SessionView
from budget_core.runtime.weak import WeakBag

try:
    from opentelemetry import metrics, trace
except ModuleNotFoundError as _error:
    raise ImportError("Spans and metrics need: pip install 'budget-suite[otel]'") from _error


class OpenTelemetry:
    """Makes a span of each call, and keeps metrics; use it as a listener.

    >>> from budget_core.events import listen
    >>> end = listen(OpenTelemetry())
    >>> end()

    It uses the API alone: without an SDK that is set up nothing is recorded. What limits and other
    events say goes to the span that is current where they happen. No metric is labelled by session.

    Args:
        tracer_provider: by default the global one.
        meter_provider: likewise.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        ours = version("budget-suite")
        self._tracer = trace.get_tracer("budget_core", ours, tracer_provider)
        meter = metrics.get_meter("budget_core", ours, meter_provider)
        self._spend = meter.create_counter(semconv.SPEND, "{usd}", "Dollars spent.")
        self._denials = meter.create_counter(semconv.DENIALS, "{call}", "Calls refused.")
        self._unpriced = meter.create_counter(semconv.UNPRICED, "{call}", "Calls without a price.")
        self._events = meter.create_counter(semconv.EVENTS, "{event}", "Limits, loops, top-ups, …")
        self._tokens = meter.create_histogram(
            semconv.TOKEN_USAGE,
            "{token}",
            "Tokens of a call.",
            explicit_bucket_boundaries_advisory=semconv.TOKEN_BUCKETS,
        )
        seconds = partial(
            meter.create_histogram,
            unit="s",
            explicit_bucket_boundaries_advisory=semconv.SECOND_BUCKETS,
        )
        self._duration = seconds(semconv.DURATION, description="Time that a call took.")
        self._tool_duration = seconds(semconv.TOOL_DURATION, description="Time that a tool took.")
        self._sessions = _Sessions()
        held = self._sessions.gauge(lambda session: session.reserved)
        limits = self._sessions.gauge(lambda session: session.limit or 0)
        told = "Dollars held for calls under way."
        meter.create_observable_gauge(semconv.RESERVED, [held], "{usd}", told)
        told = "Limits in dollars of the budgets that are open."
        meter.create_observable_gauge(semconv.LIMIT, [limits], "{usd}", told)

    def __call__(self, event: Event) -> None:
        self._sessions.see(event)
        if event.kind == "call":
            self._call(event)
            return
        if event.kind == "refused":
            self._denials.add(1, _only({semconv.REASON: event.data.get("reason")}))
        else:
            self._events.add(1, {semconv.EVENT: event.kind})
        about = {f"budget.{key}": value for key, value in event.data.items()}
        name, about[semconv.CONVERSATION] = f"budget.{event.kind}", event.session_id
        trace.get_current_span().add_event(name, _only(about))

    def _call(self, event: Event) -> None:
        data, labels = event.data, _labels(event)
        began = int((event.at - data["seconds"]) * 1e9)
        span = self._tracer.start_span(
            f"{labels[semconv.OPERATION]} {data['name']}",
            kind=trace.SpanKind.INTERNAL if data["kind"] == "tool" else trace.SpanKind.CLIENT,
            attributes={**labels, **_only(_details(event))},
            start_time=began,
        )
        span.end(int(event.at * 1e9))
        self._spend.add(data["cost"], labels)
        if data["kind"] == "tool":
            self._tool_duration.record(data["seconds"], {semconv.TOOL: data["name"]})
        else:
            self._duration.record(data["seconds"], labels)
        if not data["priced"]:
            self._unpriced.add(1, labels)
        if (usage := data["usage"]) is not None:
            for kind in ("input", "output"):
                self._tokens.record(getattr(usage, kind), {**labels, semconv.TOKEN_TYPE: kind})


class _Sessions:
    """The budgets that were heard of and are still in use."""

    def __init__(self) -> None:
        self._roots: WeakBag[SessionView] = WeakBag()

    def see(self, event: Event) -> None:
        if event.session is not None:
            root = event.session.lineage[-1]
            self._roots.add(root)

    def gauge(
        self, read: Callable[[SessionView], float]
    ) -> Callable[[metrics.CallbackOptions], Iterable[metrics.Observation]]:
        def observe(_options: metrics.CallbackOptions) -> Iterator[metrics.Observation]:
            # several sessions may be of one account
            accounts = {
                (id(root.ledger), root.account): root for root in self._roots if not root.closed
            }
            yield metrics.Observation(sum(map(read, accounts.values())))

        return observe


def _labels(event: Event) -> dict[str, Any]:
    """Return what few values name: they label metrics, too."""
    data = event.data
    if data["kind"] == "tool":
        return {semconv.OPERATION: semconv.EXECUTE_TOOL, semconv.TOOL: data["name"]}
    name, provider = data["name"], data["provider"]
    embeds = "embed" in name.lower()
    labels = {
        semconv.OPERATION: semconv.EMBEDDINGS if embeds else semconv.CHAT,
        semconv.PROVIDER: semconv.PROVIDERS.get(provider, provider),
        semconv.REQUEST_MODEL: name,
    }
    return _only(labels)


def _details(event: Event) -> dict[str, Any]:
    data, usage = event.data, event.data["usage"]
    details = {
        semconv.CONVERSATION: event.session_id,
        semconv.AGENT: data["agent"],
        semconv.RESPONSE_MODEL: data["model"],
        semconv.COST: data["cost"],
        semconv.PRICED: data["priced"],
    }
    if usage is not None:
        details |= {
            semconv.INPUT_TOKENS: usage.input,
            semconv.OUTPUT_TOKENS: usage.output,
            semconv.CACHE_READ_TOKENS: usage.cache_read,
            semconv.CACHE_WRITE_TOKENS: usage.cache_write,
            semconv.REASONING_TOKENS: usage.reasoning,
        }
    return details


def _only(attributes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if value is not None}
