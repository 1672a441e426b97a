"""OpenAI's speech, sold by the character, and transcriptions, sold by the recording."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from budget_core.testing.form import parse_form
from budget_core.testing.openai_chat import prompt_messages
from budget_core.testing.prices import SPEECH, TRANSCRIPTIONS
from budget_core.testing.wire import Json, Payload, Wire

if TYPE_CHECKING:
    from budget_core.testing.answer import Answer
    from budget_core.testing.reply import Incoming

SECONDS = 60
"""What every recording is taken to last."""

_AS_JSON = frozenset({"json", "verbose_json"})


class SpeechWire(Wire):
    """``POST /v1/audio/speech``."""

    api = "speech"
    required = ("input", "voice")
    streams = False
    speaks = False
    fees = SPEECH

    def messages(self, body: Json) -> list[Json]:
        return prompt_messages(body["input"])

    def units(self, incoming: Incoming) -> int:
        return len(incoming.last_text)

    def payload(self, answer: Answer) -> Payload:
        """Return bytes that are no sound: the same for the same text."""
        text = answer.incoming.last_text
        kind = answer.incoming.body.get("response_format") or "mp3"
        return Payload(b"ID3" + hashlib.sha256(text.encode()).digest(), f"audio/{kind}")


class TranscriptionsWire(Wire):
    """``POST /v1/audio/transcriptions``: the reply's text is what was heard."""

    api = "transcriptions"
    required = ("file",)
    streams = False
    fees = TRANSCRIPTIONS

    def parse(self, raw: bytes, content_type: str) -> Json:
        return parse_form(raw, content_type)

    def messages(self, body: Json) -> list[Json]:
        return prompt_messages(body.get("prompt"))

    def payload(self, answer: Answer) -> Payload:
        if (answer.incoming.body.get("response_format") or "json") in _AS_JSON:
            return super().payload(answer)
        return Payload(answer.text.encode(), "text/plain; charset=utf-8")

    def body(self, answer: Answer) -> Json:
        whole: Json = {"text": answer.text, "language": "english", "duration": SECONDS}
        usage = {"type": "duration", "seconds": SECONDS}
        return {**whole, "usage": usage} if answer.reply.usage else whole
