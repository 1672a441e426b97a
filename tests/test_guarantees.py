"""What the README guarantees where no framework helps: each test is a cell of its table."""

import anthropic
import openai
import pytest
from langchain.agents import create_agent
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from budget_core import AgentBudget, BudgetExhausted, CallRequest, Prompt, register_model
from budget_core.money.prices import lookup, registry
from budget_core.testing import Reply, ToolCall
from budget_langchain import BudgetedEmbeddings, BudgetMiddleware, LangChainBudgetCallback

MODEL = "gpt-4o-mini"
ASK = [{"role": "user", "content": "Why is the sea salt?"}]


@pytest.fixture(autouse=True)
def _no_models_of_mine():
    yield
    registry.clear()
    lookup.forget()


@pytest.fixture
def client(provider):
    with openai.OpenAI(base_url=provider.openai_url, api_key="test", max_retries=0) as made:
        yield made


@pytest.fixture
def gpt(provider):
    return ChatOpenAI(model=MODEL, base_url=provider.openai_url, api_key="test", max_retries=0)


def ask(client, **options):
    return client.chat.completions.create(model=MODEL, messages=ASK, **options)


def session(spend):
    return AgentBudget(spend, parent=None).session()


# -- open_call, by hand ----------------------------------------------------------------------


def request(**options):
    return CallRequest(model=MODEL, prompt=Prompt(ASK), **options)


def test_open_call_refuses_before_anything_is_sent(provider, client):
    with session("$0.0001") as budget, pytest.raises(BudgetExhausted):
        budget.open_call(request())
    assert provider.requests == budget.spent_nanos == 0


def test_open_call_charges_the_true_usage(provider, client):
    with session("$1") as budget, budget.open_call(request()) as call:
        call.settle(ask(client))
    assert budget.spent_nanos == provider.bill_nanos > 0


def test_open_call_names_the_cap_that_keeps_the_bill_within_the_budget(provider, client):
    provider.default = Reply(output_tokens=100_000)
    with session("$0.01") as budget, budget.open_call(request()) as call:
        call.settle(ask(client, max_completion_tokens=call.cap))
    assert provider.bills[0].output_cap == call.cap
    assert provider.bill_nanos == budget.spent_nanos <= 10_000_000


def test_open_call_stops_a_stream_that_outgrows_its_hold():
    with session("$0.002") as budget, budget.open_call(request()) as call:
        with pytest.raises(BudgetExhausted):  # noqa: PT012
            for _ in range(10_000):
                call.meter("a piece of text ")
        call.settle(None)
    # nobody capped it, so what may have been on its way when it was stopped is charged too
    assert 1_900_000 < budget.spent_nanos < 2_100_000


def test_a_call_that_nobody_settles_is_charged_as_held(provider):
    with session("$1") as budget:
        with budget.open_call(request(output_cap=100)):
            held = budget.reserved
        assert budget.spent == held > 0


# -- wrap, track, track_tool -----------------------------------------------------------------


def test_wrap_records_the_bill(provider, client):
    with session("$1") as budget:
        budget.wrap(ask(client))
    assert budget.spent_nanos == provider.bill_nanos > 0


def test_wrap_records_what_broke_the_limit_and_hands_it_over(provider, client):
    with session("$0.000001") as budget, pytest.raises(BudgetExhausted) as caught:
        budget.wrap(ask(client))
    assert caught.value.result.choices
    assert budget.spent_nanos == provider.bill_nanos > 1_000


def read(stream):
    for _ in stream:
        pass


def test_wrap_stops_a_stream_when_the_money_is_spent(provider):
    provider.default = Reply(output_tokens=50_000)
    with (
        anthropic.Anthropic(base_url=provider.anthropic_url, api_key="test") as claude,
        session("$0.01") as budget,
    ):
        stream = claude.messages.create(
            model="claude-sonnet-4-6", messages=ASK, max_tokens=50_000, stream=True
        )
        with pytest.raises(BudgetExhausted):
            read(budget.wrap(stream))
    provider.wait_idle()
    assert provider.bills[0].output_tokens < 50_000
    assert budget.spent_nanos > 0


def test_wrap_stops_a_stream_of_openai_too(provider, client):
    provider.default = Reply(output_tokens=50_000)
    with session("$0.0006") as budget, pytest.raises(BudgetExhausted):
        read(budget.wrap(ask(client, stream=True)))
    assert budget.spent_nanos > 0


def test_track_records_what_broke_the_limit_and_hands_it_over():
    with session("$0.01") as budget, pytest.raises(BudgetExhausted) as caught:
        budget.track("a map", cost=0.05)
    assert (caught.value.result, budget.spent) == ("a map", 0.05)


def test_track_tool_refuses_before_the_tool_runs():
    ran = []
    with session("$0.01") as budget:

        @budget.track_tool(cost=0.006)
        def look_up(topic):
            ran.append(topic)

        look_up("salt")
        with pytest.raises(BudgetExhausted):
            look_up("sea")
    assert (ran, budget.spent) == (["salt"], 0.006)


# -- LangChain: middleware, custom models, embeddings ----------------------------------------


def searching(incoming):
    if not incoming.tools:
        return Reply("What I know so far.", output_tokens=50)
    return Reply("", tool_calls=[ToolCall("search", {"query": str(incoming.index)})])


def search(query: str) -> str:
    """Search."""
    return "results " * 40


def run(gpt, provider, budget, on_exhausted):
    provider.respond(searching)
    middleware = BudgetMiddleware(callback=budget, on_exhausted=on_exhausted)
    agent = create_agent(gpt, [search], middleware=[middleware])
    return agent.invoke({"messages": [("user", "Why?")]})["messages"][-1]


def test_middleware_refuses_before_anything_is_sent(provider, gpt):
    with LangChainBudgetCallback("$0.002") as budget, pytest.raises(BudgetExhausted):
        run(gpt, provider, budget, "raise")
    assert 0 < provider.bill_nanos == budget.session.spent_nanos <= 2_000_000


def test_middleware_ends_with_an_answer_within_the_budget(provider, gpt):
    with LangChainBudgetCallback("$0.005", finalization_reserve="$0.003") as budget:
        assert run(gpt, provider, budget, "finalize").text == "What I know so far."
    assert 0 < provider.bill_nanos == budget.session.spent_nanos <= 5_000_000
    assert budget.session.finalized


def test_middleware_caps_the_answer(provider, gpt):
    with LangChainBudgetCallback("$0.005", finalization_reserve="$0.003") as budget:
        run(gpt, provider, budget, "finalize")
    assert all(bill.output_cap for bill in provider.bills)


def test_a_custom_model_is_refused_before_it_is_called():
    register_model("house-model", 1_000, 1_000)
    model = FakeListChatModel(responses=["never"], metadata={"ls_model_name": "house-model"})
    with LangChainBudgetCallback("$0.01") as budget, pytest.raises(BudgetExhausted):
        model.invoke("Why?")
    assert budget.session.spent == 0


def test_a_custom_model_is_charged_by_its_own_usage():
    register_model("house-model", 1, 2)
    usage = {"input_tokens": 1_000, "output_tokens": 500, "total_tokens": 1_500}
    reply = AIMessage("Salt.", usage_metadata=usage)
    model = GenericFakeChatModel(messages=iter([reply]), metadata={"ls_model_name": "house-model"})
    with LangChainBudgetCallback("$1") as budget:
        model.invoke("Why?")
    assert budget.session.spent == 0.002


def embeddings(provider):
    return OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=provider.openai_url,
        api_key="test",
        check_embedding_ctx_length=False,
    )


def test_embeddings_are_refused_before_anything_is_sent(provider):
    with session("$0.0000001") as budget, pytest.raises(BudgetExhausted):
        BudgetedEmbeddings(embeddings(provider), budget).embed_documents(["salt " * 1_000])
    assert provider.requests == budget.spent_nanos == 0


def test_embeddings_are_charged_as_billed(provider):
    with session("$1") as budget:
        BudgetedEmbeddings(embeddings(provider), budget).embed_documents(["salt " * 1_000])
    assert budget.spent_nanos == provider.bill_nanos > 0
