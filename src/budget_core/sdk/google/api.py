"""What of Google's API is billed, and how its answers are capped: Gemini's own, and Vertex's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from budget_core.calls.fields import camel_case
from budget_core.calls.prompt import unbounded_in
from budget_core.calls.quote import USEFUL
from budget_core.sdk.endpoints import Api, Body, Endpoint
from budget_core.sdk.stream_events import GEMINI

_CAP: Final = "generationConfig.maxOutputTokens"
_LEAST_THOUGHT: Final = 512
"""A ``thinkingBudget`` that every model takes: their own minima differ, and are at most this."""

_AT_CLIENT: Final = frozenset({"functionDeclarations", "computerUse"})
"""Tools that run at the client; any other runs at the provider, and is billed beside tokens."""
_KEPT: Final = {
    "cachedContent": "a stored context (cachedContent)",
    "continuationToken": "an answer kept at the provider (continuationToken)",
}
_MODEL: Final = re.compile(r"/(models|tunedModels|endpoints)/([^/:]+):[A-Za-z]+$")


def _spelled(value: Any) -> Any:
    """Return an object with its keys in the one of both spellings that the SDK uses."""
    if not isinstance(value, Mapping):
        return value
    return {camel_case(key): item for key, item in value.items()}


def read_body(data: Mapping[str, Any]) -> Body:
    body: Body = _spelled(data)
    if isinstance(config := _spelled(body.get("generationConfig")), Mapping):
        thinking = "thinkingConfig"
        thoughts = {thinking: _spelled(config[thinking])} if thinking in config else {}
        body["generationConfig"] = {**config, **thoughts}
    return body


def model_in(path: str) -> str | None:
    found = _MODEL.search(unquote(path))
    if found is None:
        return None
    collection, name = found.groups()
    return name if collection == "models" else f"{collection}/{name}"


def _unbounded(body: Mapping[str, Any]) -> str | None:
    for key, what in _KEPT.items():
        if body.get(key):
            return what
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list | tuple) else (tools,):
        for name in tool if isinstance(tool, Mapping) else ():
            if camel_case(name) not in _AT_CLIENT:
                return f"a tool that runs at the provider ({name})"
    return unbounded_in(body)


def _thoughts(body: Mapping[str, Any]) -> int:
    config = body.get("generationConfig")
    thinking = config.get("thinkingConfig") if isinstance(config, Mapping) else None
    budget = thinking.get("thinkingBudget") if isinstance(thinking, Mapping) else None
    return budget if isinstance(budget, int) else 0


def _least(body: Mapping[str, Any]) -> int:
    return min(thoughts, _LEAST_THOUGHT) + USEFUL if (thoughts := _thoughts(body)) > 0 else 0


def _think_less(body: Body, cap: int) -> Body:
    """Leave an answer some of the cap: thoughts are counted against it."""
    if (thoughts := _thoughts(body)) < cap:
        return body
    config = body["generationConfig"]
    fewer = min(thoughts, max(_LEAST_THOUGHT, cap - USEFUL))
    thinking = {**config["thinkingConfig"], "thinkingBudget": fewer}
    return {**body, "generationConfig": {**config, "thinkingConfig": thinking}}


_GENERATE: Final = Endpoint(
    messages="contents",
    caps=(_CAP,),
    counts=("generationConfig.candidateCount",),
    stream_format=GEMINI,
    least=_least,
    adjust=_think_less,
    unbounded=_unbounded,
)
_PREDICT: Final = "a prediction (images, video, or a model of Vertex)"
_BATCH: Final = "a batch, which is answered and billed later"
_TUNING: Final = "tuning"

API: Final = Api(
    {
        ":generateContent": _GENERATE,
        ":streamGenerateContent": _GENERATE,
        ":embedContent": Endpoint(messages="content", answers=False, stream_format=GEMINI),
        ":batchEmbedContents": Endpoint(messages="requests", answers=False, stream_format=GEMINI),
        ":predict": Endpoint(beyond=_PREDICT),
        ":predictLongRunning": Endpoint(beyond=_PREDICT),
        ":batchGenerateContent": Endpoint(beyond=_BATCH),
        ":asyncBatchEmbedContent": Endpoint(beyond=_BATCH),
        "/batchPredictionJobs": Endpoint(beyond=_BATCH),
        "/tunedModels": Endpoint(beyond=_TUNING),
        "/tuningJobs": Endpoint(beyond=_TUNING),
        "/cachedContents": Endpoint(beyond="a stored context, which is billed by the hour"),
        "/interactions": Endpoint(beyond="an interaction"),
    },
    free=re.compile(
        r":(countTokens|computeTokens|fetchPredictOperation|cancel)$|/interactions/[^/]+/cancel$"
        r"|/(files|files:register|fileSearchStores|auth_tokens|credentials)$|/webhooks(/|$)"
    ),
)
"""What the SDK can ask of a provider.

https://ai.google.dev/api; what is free is managed or counted, not generated.
"""
