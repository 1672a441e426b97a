"""A refusal is found behind what libraries make of it, and reaches no provider (docs/catching.md)."""

import contextlib

import openai
import pydantic
import pytest

import budget_core
from budget_core import AgentBudgetError, BudgetExhausted, LoopDetected

ASK = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def client(provider):
    with openai.OpenAI(base_url=provider.openai_url, api_key="test", max_retries=0) as client:
        yield client


@pytest.fixture
def session():
    with budget_core.init("$1", llm_calls=0) as session:
        yield session


def refusals(session):
    return [event.kind for event in session.events()].count("refused")


def test_instructor(provider, client, session):
    instructor = pytest.importorskip("instructor")

    class Answer(pydantic.BaseModel):
        text: str

    asking = instructor.from_openai(client).chat.completions
    with pytest.raises(Exception) as caught:
        asking.create(response_model=Answer, max_retries=3, **ASK)
    assert not isinstance(caught.value, BudgetExhausted)
    assert BudgetExhausted.behind(caught.value).session_id == session.id
    assert (provider.requests, refusals(session)) == (0, 1)


@pytest.mark.parametrize("apart", [False, True])
def test_tenacity(provider, client, session, apart):
    tenacity = pytest.importorskip("tenacity")
    worth = {"retry": tenacity.retry_if_not_exception_type(AgentBudgetError)} if apart else {}
    asked = tenacity.retry(stop=tenacity.stop_after_attempt(3), **worth)(
        client.chat.completions.create
    )
    with pytest.raises(BudgetExhausted if apart else tenacity.RetryError) as caught:
        asked(**ASK)
    assert BudgetExhausted.behind(caught.value).session_id == session.id
    assert (provider.requests, refusals(session)) == (0, 1 if apart else 3)


@pytest.mark.parametrize("apart", [False, True])
def test_langchain(provider, session, apart):
    chat_models = pytest.importorskip("langchain_openai")
    model = chat_models.ChatOpenAI(model="gpt-4o", base_url=provider.openai_url, api_key="test")
    worth = {"retry_if_exception_type": (openai.APIConnectionError,)} if apart else {}
    asking = model.with_retry(stop_after_attempt=3, wait_exponential_jitter=False, **worth)
    with pytest.raises(BudgetExhausted):
        asking.invoke("Hi")
    assert (provider.requests, refusals(session)) == (0, 1 if apart else 3)


@pytest.mark.parametrize("router", [False, True])
def test_litellm(provider, session, router):
    litellm = pytest.importorskip("litellm")
    where = {"model": "openai/gpt-4o", "api_base": provider.openai_url, "api_key": "test"}
    messages = ASK["messages"]
    names = [{"model_name": name, "litellm_params": where} for name in "ab"]
    routed = litellm.Router(names, fallbacks=[{"a": ["b"]}])
    ask, first = (routed.completion, "a") if router else (litellm.completion, "openai/gpt-4o")
    more = {} if router else {**where, "num_retries": 2}
    with pytest.raises(litellm.InternalServerError) as caught:
        ask(**{**more, "model": first, "messages": messages})
    assert BudgetExhausted.behind(caught.value).session_id == session.id
    assert provider.requests == 0


def wrapped(error, *, hidden=False):
    try:
        try:
            raise error
        except type(error):
            if hidden:
                raise RuntimeError("no answer") from None
            raise RuntimeError("no answer")  # noqa: B904  as libraries do
    except RuntimeError as outer:
        return outer


def test_of_that_kind():
    error = wrapped(LoopDetected("search", 3, 60))
    assert BudgetExhausted.behind(error) is None
    assert LoopDetected.behind(error) is AgentBudgetError.behind(error) is error.__context__
    assert LoopDetected.behind(error.__context__) is error.__context__


def test_none_where_none_is_behind():
    assert BudgetExhausted.behind(None) is None
    assert BudgetExhausted.behind(ValueError()) is None
    assert BudgetExhausted.behind(wrapped(BudgetExhausted(), hidden=True)) is None


def test_errors_in_a_circle():
    error = ValueError()
    with contextlib.suppress(ValueError):
        raise error from KeyError()
    error.__cause__.__cause__ = error
    assert BudgetExhausted.behind(error) is None
