"""The names under which OpenTelemetry gets to know of calls and money.

``gen_ai.*`` are those of its semantic conventions for generative AI, which are still in
development: https://github.com/open-telemetry/semantic-conventions-genai. They have none for money;
``budget.*`` are ours, and become Prometheus' ``budget_spend_usd_total`` and so on.
"""

from __future__ import annotations

from typing import Final

# -- attributes of spans and metrics
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
CONVERSATION: Final = "gen_ai.conversation.id"
AGENT: Final = "gen_ai.agent.name"
TOOL: Final = "gen_ai.tool.name"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  no secret
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"

COST: Final = "budget.cost.usd"
PRICED: Final = "budget.priced"
REASON: Final = "reason"
EVENT: Final = "event"

# -- metrics
TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105  no secret
DURATION: Final = "gen_ai.client.operation.duration"
TOOL_DURATION: Final = "gen_ai.execute_tool.duration"
TOKEN_BUCKETS: Final = tuple(4.0**power for power in range(14))
SECOND_BUCKETS: Final = tuple(0.01 * 2**power for power in range(14))
SPEND: Final = "budget.spend.usd"
RESERVED: Final = "budget.reserved.usd"
LIMIT: Final = "budget.limit.usd"
DENIALS: Final = "budget.denials"
EVENTS: Final = "budget.events"
UNPRICED: Final = "budget.unpriced.calls"

# -- values
CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"
EXECUTE_TOOL: Final = "execute_tool"
PROVIDERS: Final = {
    "amazon_bedrock": "aws.bedrock",
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "moonshotai": "moonshot_ai",
    "x-ai": "x_ai",
    "xai": "x_ai",
}
"""Providers that have another name there, as hosts, price lists and LangChain call them."""
