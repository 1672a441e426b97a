"""Tokens of requests that no SDK's guard sees: what one may come to, and what it did."""

from __future__ import annotations

from typing import Any, Final

from budget_core.calls.prompt import measure
from budget_core.calls.quote import COMFORTABLE
from budget_core.sdk import anthropic, openai
from budget_core.sdk.endpoints import Endpoint
from budget_core.sdk.google import api as gemini
from budget_core.sdk.streams import parsed_json

_BYTES_A_TOKEN: Final = 4
"""What providers assume when they count a request against a limit before they read it."""


def endpoint_at(method: str, url: str) -> Endpoint | None:
    for api in (openai.API, anthropic.API, gemini.API):
        endpoint = api.endpoint(method, url)
        if endpoint is not None and endpoint.beyond is None:
            return endpoint
    return None


def expected(endpoint: Endpoint, body: Any) -> int:
    """Return the tokens that a request may come to: a fair guess, corrected by its answer.

    Args:
        endpoint: what is asked.
        body: parsed, or as it is sent; one that cannot be read counts for nothing.
    """
    parsed = parsed_json(body)
    if not isinstance(parsed, dict):
        return 0
    request = endpoint.read(parsed, None)
    parts = map(measure, request.prompt or ())
    prompt = sum(part.tokens(request.model) for part in parts)
    cap = COMFORTABLE if request.output_cap is None else request.output_cap
    return prompt // _BYTES_A_TOKEN + cap * request.n
