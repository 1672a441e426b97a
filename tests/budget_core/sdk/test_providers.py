"""A request's host names its provider, and so the price list that is looked into first."""

import pytest

from budget_core.sdk.hosts import provider_at


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("eu.api.openai.com", "openai"),
        ("mine.openai.azure.com", "azure"),
        ("api.anthropic.com", "anthropic"),
        ("openrouter.ai", "openrouter"),
        ("generativelanguage.googleapis.com", "google"),
        ("us-east5-aiplatform.googleapis.com", "google"),
        ("api.z.ai", "zai"),
        ("api.moonshot.cn", "moonshotai"),
        ("api.perplexity.ai", "perplexity"),
        ("api.cerebras.ai", "cerebras"),
        ("api.novita.ai", "novita"),
        ("127.0.0.1", None),
        ("notopenai.com", None),
        ("api.openai.com.evil.org", None),
    ],
)
def test_provider_at(host, provider):
    assert provider_at(host) == provider
