"""An error before any request: nothing was sent, and nothing is charged."""

import httpx
import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings

from budget_core.testing import Reply
from budget_langchain import BudgetedEmbeddings, BudgetMiddleware, LangChainBudgetCallback

pytestmark = pytest.mark.filterwarnings("ignore:A non-leading:UserWarning")

UNSENDABLE = [HumanMessage("hi"), SystemMessage("late"), HumanMessage("x"), SystemMessage("later")]


class Unformed(ChatOpenAI):
    """Fails at what it is about to send."""

    def _get_request_payload(self, *_given, **_kwargs):
        raise TypeError("unformed")


class Posting(BaseChatModel):
    """Sends by a client of its own, and fails at the answer."""

    url: str

    @property
    def _llm_type(self):
        return "posting"

    def _get_ls_params(self, **_kwargs):
        return {"ls_model_name": "gpt-4o", "ls_provider": "openai"}

    def _generate(self, *_given, **_kwargs):
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
        httpx.post(f"{self.url}/chat/completions", json=body).raise_for_status()
        raise TypeError("unparsed")


@pytest.fixture
def models(claude, provider):
    def make(kind):
        match kind:
            case "chat":
                return claude()
            case "late":
                return Unformed(model="gpt-4o", base_url=provider.openai_url, api_key="test")
        return OpenAI(
            model="gpt-3.5-turbo-instruct",
            base_url=provider.openai_url,
            api_key="test",
            model_kwargs={"user": object()},
        )

    return make


@pytest.mark.parametrize("way", ["invoke", "stream", "batch", "ainvoke", "astream", "abatch"])
@pytest.mark.parametrize("kind", ["chat", "late"])
async def test_a_model(way, kind, models, ask, provider):
    with LangChainBudgetCallback("$1") as budget:
        for _ in range(3):
            with pytest.raises((ValueError, TypeError)):
                await ask(way, models(kind), UNSENDABLE, {"callbacks": [budget]})
            assert budget.session.reserved == 0
        assert (provider.requests, budget.session.spent_nanos) == (0, 0)


async def test_a_completion_model(models, provider):
    with LangChainBudgetCallback("$1") as budget:
        for _ in range(3):
            with pytest.raises(TypeError):
                await models("completion").ainvoke("hi")
        assert (provider.requests, budget.session.spent_nanos) == (0, 0)
        assert budget.session.reserved == 0


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
async def test_an_agent(way, claude, researcher, drive, provider):
    middleware = BudgetMiddleware("$1")
    for _ in range(3):
        with pytest.raises(ValueError, match="system"):
            await drive(way, researcher(claude(), middleware), {"messages": UNSENDABLE})
    assert (provider.requests, middleware.session.spent_nanos) == (0, 0)
    assert middleware.session.reserved == 0


async def test_an_embedding_model(provider):
    with LangChainBudgetCallback("$1") as budget:
        model = OpenAIEmbeddings(
            model="text-embedding-3-small",
            base_url=provider.openai_url,
            api_key="test",
            check_embedding_ctx_length=False,
            model_kwargs={"user": object()},
        )
        for _ in range(3):
            with pytest.raises(TypeError):
                BudgetedEmbeddings(model, budget).embed_query("salt")
        assert (provider.requests, budget.session.spent_nanos) == (0, 0)
        assert budget.session.reserved == 0


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_a_model_that_sends_by_other_means(way, ask, provider):
    provider.default = Reply("salt")
    with LangChainBudgetCallback("$1") as budget:
        with pytest.raises(TypeError, match="unparsed"):
            await ask(way, Posting(url=provider.openai_url), "hi", {"callbacks": [budget]})
        assert budget.session.reserved == 0
        assert budget.session.spent_nanos >= provider.bill_nanos > 0
