import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai.types import HttpOptions


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
def gemini(provider):
    options = HttpOptions(base_url=provider.google_url)
    with genai.Client(api_key="test", http_options=options) as made:
        yield made


@pytest.fixture
def http(provider):
    with httpx.Client(base_url=provider.url, trust_env=False) as made:
        yield made
