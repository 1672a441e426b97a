"""Which path speaks which wire format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core.testing.anthropic_messages import MessagesWire
from budget_core.testing.anthropic_tokens import CountTokensWire
from budget_core.testing.batches import BatchesWire, MessageBatchesWire
from budget_core.testing.google_embeddings import BatchEmbedContentsWire, EmbedContentWire
from budget_core.testing.google_gemini import GeminiWire
from budget_core.testing.google_tokens import GeminiTokensWire
from budget_core.testing.openai_audio import SpeechWire, TranscriptionsWire
from budget_core.testing.openai_chat import ChatWire, CompletionsWire
from budget_core.testing.openai_embeddings import EmbeddingsWire
from budget_core.testing.openai_images import ImagesWire
from budget_core.testing.openai_moderations import ModerationsWire
from budget_core.testing.openai_responses import ResponsesWire

if TYPE_CHECKING:
    from budget_core.testing.wire import Wire

GEMINI_API = ("/v1beta/models/{model}", "/v1/models/{model}")
CLOUD = ("/v1beta1", "/v1")
PROJECT = "/projects/{project}/locations/{location}/publishers"


def wires() -> dict[str, Wire]:
    """Return the wire format of every path; what is more special comes first."""
    return {**_openai(), **_anthropic(), **_google()}


def _openai() -> dict[str, Wire]:
    deployed: dict[str, Wire] = {
        "/chat/completions": ChatWire(),
        "/completions": CompletionsWire(),
        "/embeddings": EmbeddingsWire(),
        "/images/generations": ImagesWire(),
        "/audio/speech": SpeechWire(),
        "/audio/transcriptions": TranscriptionsWire(),
    }
    return {
        **{f"/v1{path}": wire for path, wire in deployed.items()},
        **{f"/openai/deployments/{{model}}{path}": wire for path, wire in deployed.items()},
        "/v1/responses": ResponsesWire(),
        "/v1/moderations": ModerationsWire(),
        "/v1/batches": BatchesWire(),
    }


def _anthropic() -> dict[str, Wire]:
    vertex = f"/v1{PROJECT}/anthropic/models"
    return {
        "/v1/messages": MessagesWire(),
        "/v1/messages/count_tokens": CountTokensWire(),
        "/v1/messages/batches": MessageBatchesWire(),
        "/model/{model}/invoke": MessagesWire(streamed=False),
        f"{vertex}/count-tokens:rawPredict": CountTokensWire(),
        f"{vertex}/{{model}}:rawPredict": MessagesWire(streamed=False),
        f"{vertex}/{{model}}:streamRawPredict": MessagesWire(streamed=True),
    }


def _google() -> dict[str, Wire]:
    models = [
        *GEMINI_API,
        *(f"{version}{PROJECT}/google/models/{{model}}" for version in CLOUD),
        *(f"{version}/publishers/google/models/{{model}}" for version in CLOUD),
    ]
    methods: dict[str, Wire] = {
        "generateContent": GeminiWire(streamed=False),
        "streamGenerateContent": GeminiWire(streamed=True),
        "countTokens": GeminiTokensWire(),
    }
    embeddings: dict[str, Wire] = {
        "embedContent": EmbedContentWire(),
        "batchEmbedContents": BatchEmbedContentsWire(),
    }
    return {
        **{f"{path}:{name}": wire for path in models for name, wire in methods.items()},
        **{f"{path}:{name}": wire for path in GEMINI_API for name, wire in embeddings.items()},
    }
