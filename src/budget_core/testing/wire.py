"""What every wire format has in common: reading a request, and shaping what goes back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from budget_core.testing.answer import Answer, compose, nothing
from budget_core.testing.reply import Api, Incoming, Reply
from budget_core.testing.tokens import count_messages, count_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Json = dict[str, Any]

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class Frame(NamedTuple):
    """One event of a stream, and how many tokens were written with it."""

    data: bytes
    tokens: int = 0


class Payload(NamedTuple):
    """A whole answer as it is sent."""

    data: bytes
    content_type: str = "application/json"


class Refusal(Exception):
    """The request is answered with an error before any model is asked."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Wire:
    """The wire format of one API; ``streamed`` where its path says whether it streams."""

    api: ClassVar[Api]
    required: ClassVar[tuple[str, ...]]
    caps: ClassVar[tuple[str, ...]] = ()
    schemas: ClassVar[tuple[str, ...]] = ("tools",)
    objects: ClassVar[tuple[str, ...]] = ()
    """Parameters that must be JSON objects, if they are given."""
    streams: ClassVar[bool] = True
    speaks: ClassVar[bool] = True
    """Whether a model writes the answer; what else is answered takes no tokens of output."""
    default_model: ClassVar[str | None] = None
    """The model of a request that names none; None: it must name one."""
    fees: ClassVar[Mapping[str, int]] = {}
    """Nano-dollars a unit, for models that are not sold by the token."""

    def __init__(self, *, streamed: bool | None = None) -> None:
        self._streamed = streamed

    def parse(self, raw: bytes, content_type: str) -> Json:  # noqa: ARG002
        """Return the body of a request, or raise Refusal."""
        try:
            body: Any = json.loads(raw)
        except ValueError as error:
            raise Refusal(400, f"could not parse the JSON body: {error}") from error
        if not isinstance(body, dict):
            raise Refusal(400, "the body must be a JSON object")
        return body

    def read(self, index: int, path: str, body: Json) -> Incoming:
        """Return what a request asks for, or raise Refusal."""
        self.check(body)
        messages = self.messages(body)
        return Incoming(
            index=index,
            path=path,
            api=self.api,
            model=str(body.get("model") or self.default_model),
            body=body,
            messages=[_plain(message) for message in messages],
            tools=self.tools(body),
            stream=self.streaming(body),
            n=self.choices(body),
            output_cap=self.cap(body),
            input_tokens=self.count(body, messages),
        )

    def check(self, body: Json) -> None:
        """Raise Refusal if a parameter is missing, or is none."""
        own = () if self.default_model else ("model",)
        for name in (*own, *self.required):
            if body.get(name) in (None, []):
                raise Refusal(400, f"missing required parameter: '{name}'")
        for name in self.objects:
            if not isinstance(body.get(name), dict | None):
                raise Refusal(400, f"'{name}' must be an object")

    def messages(self, body: Json) -> list[Json]:
        """Return all messages of a request, instructions first, in the API's own shape."""
        return self.checked(body["messages"])

    def count(self, body: Json, messages: list[Json]) -> int:
        """Return the input tokens of a request."""
        schemas = sum(count_schema(body.get(name)) for name in self.schemas)
        return count_messages(messages) + schemas

    def choices(self, body: Json) -> int:
        """Return how many answers are asked for."""
        return positive("n", body.get("n") or 1)

    def streaming(self, body: Json) -> bool:
        """Return whether the answer is streamed."""
        if self._streamed is not None:
            return self._streamed
        return self.streams and bool(body.get("stream"))

    def tools(self, body: Json) -> tuple[str, ...]:
        """Return the names of the tools that the model may call."""
        return tuple(_tool_name(tool) for tool in body.get("tools") or ())

    def cap(self, body: Json) -> int | None:
        """Return the tightest cap on the output of one choice."""
        given = [positive(name, body[name]) for name in self.caps if body.get(name) is not None]
        return min(given, default=None)

    def compose(self, incoming: Incoming, reply: Reply, tier: str) -> Answer:
        """Return what the model writes."""
        return (compose if self.speaks else nothing)(incoming, reply, tier)

    def fee(self, listed: str, incoming: Incoming) -> int | None:
        """Return the nano-dollars of a request that is not sold by the token, or None."""
        if self.api == "tokens":
            return 0
        unit = self.fees.get(listed)
        return None if unit is None else unit * self.units(incoming)

    def units(self, incoming: Incoming) -> int:
        """Return how many units of the fee a request takes."""
        return incoming.n

    def body(self, answer: Answer) -> Json:
        """Return the whole answer."""
        raise NotImplementedError

    def payload(self, answer: Answer) -> Payload:
        """Return the whole answer as it is sent: JSON, unless overridden."""
        return Payload(encoded(self.body(answer)))

    def stream_type(self, answer: Answer) -> str:  # noqa: ARG002
        """Return the content type of a stream."""
        return "text/event-stream"

    def frames(self, answer: Answer) -> Iterator[Frame]:
        """Yield the answer as a stream of events."""
        raise NotImplementedError

    def error(self, status: int, message: str, code: str | None) -> Json:
        """Return an error in the provider's shape; OpenAI's, unless overridden."""
        kind = ERROR_TYPES.get(status, "server_error")
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def checked(self, messages: Any) -> list[Json]:
        """Return messages that are all objects with a role or a type, or raise Refusal."""
        if not isinstance(messages, list) or not all(_is_message(item) for item in messages):
            raise Refusal(400, "each message must be an object with a role or a type")
        return messages


def encoded(payload: Json) -> bytes:
    return json.dumps(payload, separators=(",", ":")).encode()


def sse(payload: Json, event: str | None = None) -> bytes:
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + encoded(payload) + b"\n\n"


def positive(name: str, value: Any) -> int:
    """Return a parameter that must be a positive integer, or raise Refusal."""
    if not isinstance(value, int) or value < 1:
        raise Refusal(400, f"'{name}' must be an integer of at least 1")
    return value


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(text_of(part) for part in content)
    if isinstance(content, dict):
        return text_of(content.get("text") or content.get("content") or content.get("output"))
    return ""


def _plain(message: Json) -> dict[str, str]:
    kinds = {"function_call": "assistant", "function_call_output": "tool"}
    role = message.get("role") or kinds.get(message["type"], message["type"])
    return {"role": str(role), "content": text_of(message)}


def _tool_name(tool: Any) -> str:
    if not isinstance(tool, dict):
        raise Refusal(400, "each tool must be an object")
    return str(tool.get("name") or (tool.get("function") or {}).get("name") or tool.get("type"))


def _is_message(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("role", item.get("type")), str)
