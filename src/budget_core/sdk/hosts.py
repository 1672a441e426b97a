"""Who serves a request, by the host it goes to, and what is known of that server."""

from __future__ import annotations

import re
from functools import cache
from typing import Final, NamedTuple

_OLD: Final = ("max_tokens",)
_NEW: Final = ("max_completion_tokens",)
_BOTH: Final = ("max_tokens", "max_completion_tokens")


class Server(NamedTuple):
    """A server, and what it makes of a cap on chat completions.

    Attributes:
        provider: whose prices are looked into first.
        caps: the parameters that it is known to honour, the best one first; none if that is not
            known: a cap is then sent all the same, and the answer is metered as one without.
        bounds_thoughts: a cap holds for what the model thinks, too.
        asked: its streams tell their usage if they are asked (``stream_options``), and may be.
        region: where it runs its models, if its host says that.
    """

    provider: str | None = None
    caps: tuple[str, ...] = ()
    bounds_thoughts: bool = True
    asked: bool = True
    region: str | None = None


_SERVERS: Final = {
    # https://platform.openai.com/docs/api-reference/chat/create
    "api.openai.com": Server("openai", (*_NEW, *_OLD)),
    # https://learn.microsoft.com/azure/ai-foundry/openai/reference
    "openai.azure.com": Server("azure", (*_NEW, *_OLD)),
    "cognitiveservices.azure.com": Server("azure", (*_NEW, *_OLD)),
    "services.ai.azure.com": Server("azure", (*_NEW, *_OLD)),
    # https://docs.anthropic.com/en/api/openai-sdk
    "api.anthropic.com": Server("anthropic", _BOTH),
    # https://openrouter.ai/docs/api/reference/parameters
    "openrouter.ai": Server("openrouter", _OLD),
    # https://console.groq.com/docs/api-reference
    "api.groq.com": Server("groq", (*_NEW, *_OLD)),
    # https://docs.mistral.ai/api; it refuses what it does not know, and tells usage unasked
    "api.mistral.ai": Server("mistral", _OLD, asked=False),
    # https://api-docs.deepseek.com/api/create-chat-completion: others are ignored
    "api.deepseek.com": Server("deepseek", _OLD),
    # https://docs.x.ai/docs/api-reference; 249 of 1,228 recorded answers are longer than their cap
    "api.x.ai": Server("x-ai", (*_NEW, *_OLD), bounds_thoughts=False),
    # https://docs.together.ai/reference/chat-completions; it tells usage unasked
    "api.together.xyz": Server("together", _OLD, asked=False),
    "api.together.ai": Server("together", _OLD, asked=False),
    # https://huggingface.co/docs/inference-providers; likewise, of whoever serves behind it
    "router.huggingface.co": Server(asked=False),
    # https://docs.fireworks.ai/api-reference/post-chatcompletions
    "api.fireworks.ai": Server("fireworks", _OLD),
    # https://docs.cohere.com/docs/compatibility-api
    "api.cohere.com": Server("cohere", _OLD),
    "api.cohere.ai": Server("cohere", _OLD),
    # https://platform.moonshot.ai/docs/api/chat
    "api.moonshot.ai": Server("moonshotai", _OLD),
    "api.moonshot.cn": Server("moonshotai", _OLD),
    # https://docs.z.ai/api-reference/llm/chat-completion
    "api.z.ai": Server("zai", _OLD),
    "open.bigmodel.cn": Server("zhipuai", _OLD),
    # https://docs.perplexity.ai/api-reference/chat-completions-post
    "api.perplexity.ai": Server("perplexity", _OLD),
    # https://inference-docs.cerebras.ai/api-reference/chat-completions
    "api.cerebras.ai": Server("cerebras", _NEW),
    # of these it is known what they charge (genai-prices), and not what they heed
    "api.novita.ai": Server("novita"),
    "api.minimax.io": Server("minimax"),
    "api.minimaxi.com": Server("minimax"),
    "inference.baseten.co": Server("baseten"),
    "api.githubcopilot.com": Server("github-copilot"),
    "api.voyageai.com": Server("voyageai"),
    "api.arcee.ai": Server("arcee"),
    "api.avian.io": Server("avian"),
    "oai.endpoints.kepler.ai.cloud.ovh.net": Server("ovhcloud"),
    # https://ai.google.dev/gemini-api/docs/openai; Vertex' hosts begin with a region
    "googleapis.com": Server("google", _BOTH),
}
UNKNOWN: Final = Server()

_REGIONS: Final = (
    re.compile(r"([a-z]+)\.api\.openai\.com"),
    re.compile(r"([a-z]+-[a-z]+\d+)-aiplatform\.googleapis\.com"),
    re.compile(r"aiplatform\.([a-z]+)\.rep\.googleapis\.com"),
)
"""Hosts that name where they run models."""


@cache
def server_at(host: str) -> Server:
    """Return what is known of the server at a host."""
    for known, server in _SERVERS.items():
        if host == known or host.endswith(f".{known}"):
            found = filter(None, (pattern.fullmatch(host) for pattern in _REGIONS))
            return server._replace(region=next((match[1] for match in found), None))
    return UNKNOWN


def provider_at(host: str) -> str | None:
    """Return whose prices are looked into for what is served at a host."""
    return server_at(host).provider
