"""Multipart forms, as uploads send them."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import HTTP
from typing import TYPE_CHECKING, Any

from budget_core.testing.wire import Json, Refusal

if TYPE_CHECKING:
    from email.message import Message


def parse_form(raw: bytes, content_type: str) -> Json:
    """Return the fields of a form, a file as its name and its size, or raise Refusal."""
    head = f"content-type: {content_type}\r\n\r\n".encode()
    form = message_from_bytes(head + raw, policy=HTTP)
    if not form.is_multipart():
        raise Refusal(400, "could not parse the multipart form")
    return {_name(part): _value(part) for part in form.iter_parts()}


def _name(part: Message) -> str:
    return str(part.get_param("name", header="content-disposition"))


def _value(part: Message) -> Any:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    name = part.get_filename()
    if name is None:
        return data.decode("utf-8", "replace")
    return {"filename": name, "bytes": len(data)}
