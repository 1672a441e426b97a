"""Who serves a request, by the host it goes to."""

from __future__ import annotations

from functools import cache
from typing import Final

_HOSTS: Final = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure",
    "cognitiveservices.azure.com": "azure",
    "services.ai.azure.com": "azure",
    "api.anthropic.com": "anthropic",
    "openrouter.ai": "openrouter",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x-ai",
    "api.together.xyz": "together",
    "api.fireworks.ai": "fireworks",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "googleapis.com": "google",  # Gemini's API and Vertex, whose hosts begin with a region
}


@cache
def provider_at(host: str) -> str | None:
    for known, provider in _HOSTS.items():
        if host == known or host.endswith(f".{known}"):
            return provider
    return None
