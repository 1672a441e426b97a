"""What every wire format has in common: reading a request, and shaping what goes back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from budget_core.testing.reply import Api, Incoming
from budget_core.testing.tokens import count_messages, count_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budget_core.testing.answer import Answer

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


class Refusal(Exception):
    """The request is answered with an error before any model is asked."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Wire:
    """The wire format of one API."""

    api: ClassVar[Api]
    required: ClassVar[tuple[str, ...]]
    caps: ClassVar[tuple[str, ...]] = ()
    schemas: ClassVar[tuple[str, ...]] = ("tools",)
    streams: ClassVar[bool] = True

    def read(self, index: int, path: str, body: Json) -> Incoming:
        """Return what a request asks for, or raise Refusal."""
        for name in ("model", *self.required):
            if body.get(name) in (None, []):
                raise Refusal(400, f"missing required parameter: '{name}'")
        messages = self.messages(body)
        return Incoming(
            index=index,
            path=path,
            api=self.api,
            model=str(body["model"]),
            body=body,
            messages=[_plain(message) for message in messages],
            tools=tuple(_tool_name(tool) for tool in body.get("tools") or ()),
            stream=self.streams and bool(body.get("stream")),
            n=self.choices(body),
            output_cap=self.cap(body),
            input_tokens=self.count(body, messages),
        )

    def messages(self, body: Json) -> list[Json]:
        """Return all messages of a request, instructions first, in the API's own shape."""
        return self.checked(body["messages"])

    def count(self, body: Json, messages: list[Json]) -> int:
        """Return the input tokens of a request."""
        schemas = sum(count_schema(body.get(name)) for name in self.schemas)
        return count_messages(messages) + schemas

    def choices(self, body: Json) -> int:
        """Return how many answers are asked for."""
        return _positive("n", body.get("n") or 1)

    def cap(self, body: Json) -> int | None:
        """Return the tightest cap on the output of one choice."""
        given = [_positive(name, body[name]) for name in self.caps if body.get(name) is not None]
        return min(given, default=None)

    def body(self, answer: Answer) -> Json:
        """Return the whole answer."""
        raise NotImplementedError

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


def sse(payload: Json, event: str | None = None) -> bytes:
    """Return one server-sent event."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(payload, separators=(',', ':'))}\n\n".encode()


def text_of(content: Any) -> str:
    """Return the text of a message's content, whatever its shape."""
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


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, int) or value < 1:
        raise Refusal(400, f"'{name}' must be an integer of at least 1")
    return value
