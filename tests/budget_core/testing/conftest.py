import anthropic
import httpx
import openai
import pytest


@pytest.fixture
def client(provider):
    with openai.OpenAI(base_url=provider.openai_url, api_key="test", max_retries=0) as made:
        yield made


@pytest.fixture
def claude(provider):
    with anthropic.Anthropic(
        base_url=provider.anthropic_url, api_key="test", max_retries=0
    ) as made:
        yield made


@pytest.fixture
def http(provider):
    with httpx.Client(base_url=provider.url, trust_env=False) as made:
        yield made
