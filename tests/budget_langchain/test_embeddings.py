"""Embeddings, which LangChain tells no handler of."""

import httpx
import pytest
from langchain_core.embeddings import Embeddings
from langchain_openai import OpenAIEmbeddings

from budget_core import AgentBudget, BudgetExhausted, UnknownModel
from budget_core.testing import Reply
from budget_langchain import BudgetedEmbeddings, LangChainBudgetCallback


class Lengths(Embeddings):
    """Embed a text as its length: a model that no SDK guard sees."""

    size = 3

    def embed_documents(self, texts):
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text):
        return [float(len(text))] * self.size


@pytest.fixture
async def openai_embeddings(provider):
    def make(**options):
        return OpenAIEmbeddings(
            model="text-embedding-3-small",
            base_url=provider.openai_url,
            api_key="test",
            max_retries=0,
            check_embedding_ctx_length=False,
            http_client=client,
            http_async_client=async_client,
            **options,
        )

    async with httpx.AsyncClient() as async_client:
        with httpx.Client() as client:
            yield make


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_what_openai_bills_is_what_is_spent(
    provider, openai_embeddings, asynchronous, square
):
    callback = LangChainBudgetCallback("$1")
    embeddings = BudgetedEmbeddings(openai_embeddings(chunk_size=2), callback)
    texts = ["some text", "more of it", "and a third one"]
    if asynchronous:
        assert len(await embeddings.aembed_documents(texts)) == 3
        await embeddings.aembed_query("what?")
    else:
        assert len(embeddings.embed_documents(texts)) == 3
        embeddings.embed_query("what?")
    assert provider.requests == 3
    square(callback.session)
    assert embeddings.model == "text-embedding-3-small"


def test_without_a_guard_the_bound_is_charged(provider, openai_embeddings, unguarded, square):
    session = AgentBudget("$1").session()
    embeddings = BudgetedEmbeddings(openai_embeddings(), session, guard_sdks=False)
    embeddings.embed_documents(["abcdefgh"])
    square(session, exact=False)
    assert session.spent_nanos == 9 * 20


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_what_does_not_fit_is_not_sent(provider, openai_embeddings, asynchronous):
    session = AgentBudget("$0.000001").session()
    embeddings = BudgetedEmbeddings(openai_embeddings(), session)
    texts = ["long " * 100]
    if asynchronous:
        with pytest.raises(BudgetExhausted):
            await embeddings.aembed_documents(texts)
    else:
        with pytest.raises(BudgetExhausted):
            embeddings.embed_documents(texts)
    assert provider.requests == 0
    assert session.reserved == 0


def test_a_refused_request_costs_nothing(provider, openai_embeddings, guard_sdks, square):
    provider.script(Reply(status=400))
    session = AgentBudget("$1").session()
    embeddings = BudgetedEmbeddings(openai_embeddings(), session, guard_sdks=guard_sdks)
    with pytest.raises(Exception, match="400"):
        embeddings.embed_query("hi")
    square(session)


async def test_nothing_costs_nothing():
    session = AgentBudget("$1").session()
    embeddings = BudgetedEmbeddings(Lengths(), session, "nobody")
    assert embeddings.embed_documents([]) == []
    assert await embeddings.aembed_documents([]) == []
    assert session.spent_nanos == 0


def test_any_model_with_a_price():
    session = AgentBudget("$1").session()
    fake = Lengths()
    with pytest.raises(UnknownModel):
        BudgetedEmbeddings(fake, session, "my-embedding").embed_query("hi")
    embeddings = BudgetedEmbeddings(fake, session, "my-embedding", price_per_million=2)
    assert embeddings.embed_query("hé") == fake.embed_query("hé")
    assert session.spent_nanos == 4 * 2_000
    assert isinstance(embeddings, Embeddings)
    assert embeddings.size == 3
