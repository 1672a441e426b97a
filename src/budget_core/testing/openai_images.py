"""OpenAI's images: GPT Image sells them by the token, DALL-E by the piece."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from budget_core.testing.answer import Answer, nothing
from budget_core.testing.openai_chat import prompt_messages
from budget_core.testing.prices import IMAGES
from budget_core.testing.tokens import count_prompts
from budget_core.testing.wire import Json, Wire

if TYPE_CHECKING:
    from budget_core.testing.reply import Incoming, Reply

IMAGE_TOKENS = 1056
"""The output of one image, of any size and quality: that of a square one of medium quality."""

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


class ImagesWire(Wire):
    """``POST /v1/images/generations``."""

    api = "images"
    required = ("prompt",)
    streams = False
    default_model = "dall-e-2"
    fees = IMAGES

    def messages(self, body: Json) -> list[Json]:
        return prompt_messages(body["prompt"])

    def count(self, body: Json, messages: list[Json]) -> int:  # noqa: ARG002
        return sum(count_prompts(body["prompt"]))

    def compose(self, incoming: Incoming, reply: Reply, tier: str) -> Answer:
        scripted = reply.output_tokens
        tokens = IMAGE_TOKENS if scripted is None else scripted
        return nothing(incoming, reply, tier, tokens)

    def body(self, answer: Answer) -> Json:
        incoming = answer.incoming
        by_token = incoming.model not in self.fees
        as_text = by_token or incoming.body.get("response_format") == "b64_json"
        image = {"b64_json": PIXEL} if as_text else {"url": "https://images.invalid/1.png"}
        whole: Json = {"created": int(time.time()), "data": [image] * incoming.n}
        return {**whole, "usage": _usage(answer)} if by_token and answer.reply.usage else whole


def _usage(answer: Answer) -> Json:
    usage = answer.usage()
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"text_tokens": usage.input, "image_tokens": 0},
        "output_tokens": usage.output,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": usage.output},
        "total_tokens": usage.input + usage.output,
    }
