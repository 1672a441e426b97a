"""The documentation of `agent-budget-guard` is true of this package, with only the import changed.

The snippets stand here as they stand there.
"""

import concurrent.futures
import gc
import pickle
import threading
import weakref

import anthropic
import openai
import pytest

import budget_core
from budget_compat import agent_budget_guard
from budget_compat.agent_budget_guard import BudgetedSession, BudgetExceededError
from budget_core.money.prices.lookup import rates
from budget_core.testing import Gate, Reply

HELLO = [{"role": "user", "content": "Hello"}]
CLAUDE = {"model": "claude-sonnet-4-6", "max_tokens": 100, "messages": HELLO}


def chat(client, **options):
    return client.chat.completions.create(**{"model": "gpt-4o", "messages": HELLO, **options})


def spent_nanos(session):
    return session.account.spent_nanos


SETUP = """
import os
from agent_budget_guard import BudgetedSession

client = BudgetedSession.openai(budget_usd=5.00, api_key=os.getenv("OPENAI_API_KEY"))
"""

USAGE = """
from agent_budget_guard import BudgetedSession

client = BudgetedSession.openai(
    budget_usd=5.00,
    on_budget_exceeded=lambda e: print(f"Budget hit: {e}"),
    on_warning=lambda w: print(f"{w['threshold']}% budget used"),
)

response = client.chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "Hello"}]
)

print(response.choices[0].message.content)
print(client.session.get_summary())
"""


def test_setup(run):
    client = run(SETUP)["client"]
    assert client.api_key == "test"
    assert isinstance(client, openai.OpenAI)
    client.close()


def test_usage(run, provider, capsys):
    client = run(USAGE)["client"]
    text, summary = capsys.readouterr().out.splitlines()
    assert text == "Salt is salt."
    assert summary == str(client.session.get_summary())
    assert client.session.get_summary() == {
        "budget": 5.0,
        "spent": provider.bill,
        "reserved": 0.0,
        "remaining": 5 - provider.bill,
        "utilization_percent": pytest.approx(provider.bill / 5 * 100),
    }
    assert spent_nanos(client.session) == provider.bill_nanos > 0
    client.close()


def test_usage_up_to_the_limit(run, provider, capsys):
    provider.default = Reply(output_tokens=4_000)
    client = run(USAGE.replace("5.00", "0.05"))["client"]
    capsys.readouterr()
    for _ in range(30):
        answer = chat(client, max_tokens=4_000)
    assert answer is None
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == ["30% budget used", "80% budget used"]
    assert told[-1].startswith("Budget hit: gpt-4o was refused before it was sent")
    assert spent_nanos(client.session) == provider.bill_nanos <= 50_000_000
    client.close()


# -- callbacks -----------------------------------------------------------------------------------

WARNING = {
    "threshold": 80,       # which % threshold was crossed
    "spent": 4.02,         # total spent so far
    "remaining": 0.98,     # budget left
    "budget": 5.00         # total budget
}  # fmt: skip


def test_each_threshold_warns_once(run, provider):
    warnings, errors = [], []
    client = BudgetedSession.openai(
        budget_usd=1.00, on_warning=warnings.append, on_budget_exceeded=errors.append
    )
    provider.default = Reply(output_tokens=10_000)  # a tenth of the budget
    answers = [chat(client, max_tokens=10_000) for _ in range(12)]
    assert [warning["threshold"] for warning in warnings] == [30, 80, 95]
    for warning in warnings:
        assert {key: type(value) for key, value in warning.items()} == {
            key: type(value) for key, value in WARNING.items()
        }
        assert warning["spent"] + warning["remaining"] == pytest.approx(warning["budget"])
    assert answers.count(None) == len(errors) == 2
    assert all(isinstance(error, BudgetExceededError) for error in errors)
    assert spent_nanos(client.session) == provider.bill_nanos <= 1_000_000_000
    client.close()


def test_thresholds_of_ones_own(run, provider):
    warnings = []
    client = BudgetedSession.openai(
        budget_usd=1.00, on_warning=warnings.append, warning_thresholds=[50, 90]
    )
    provider.default = Reply(output_tokens=10_000)
    for _ in range(9):
        chat(client, max_tokens=10_000)
    assert [warning["threshold"] for warning in warnings] == [50, 90]
    client.close()


def test_without_a_callback_the_error_is_raised(run, provider):
    client = BudgetedSession.openai(budget_usd=0.001)
    with pytest.raises(BudgetExceededError) as caught:
        chat(client, max_tokens=1_000)
    assert caught.value.estimated_cost > 0.001
    assert caught.value.remaining == 0.001
    assert isinstance(caught.value, budget_core.BudgetExhausted)
    assert isinstance(caught.value, agent_budget_guard.BudgetError)
    assert not provider.requests
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert type(again) is BudgetExceededError
    assert again.estimated_cost == caught.value.estimated_cost
    client.close()


def test_a_stream_that_outgrows_its_hold_raises_the_same_error(run, provider):
    provider.default = Reply("word " * 5_000, ignores_cap=True)
    client = BudgetedSession.openai(budget_usd=0.02)
    with pytest.raises(BudgetExceededError):
        for _ in chat(client, stream=True):
            pass
    client.close()


def test_a_model_without_a_price(run, provider):
    client = BudgetedSession.openai(budget_usd=5.00)
    with pytest.raises(agent_budget_guard.PricingDataError):
        chat(client, model="nobody-knows-this")
    assert not provider.requests
    client.close()


def test_what_a_callback_raises_does_not_cost_the_answer(run, provider):
    provider.default = Reply(output_tokens=8_000)
    client = BudgetedSession.openai(budget_usd=0.10, on_warning=lambda warning: 1 / 0)
    assert chat(client) is not None
    assert spent_nanos(client.session) == provider.bill_nanos > 30_000_000
    client.close()


def test_an_answer_without_usage_is_charged_as_it_was_held(client, provider):
    provider.default = Reply("Hi", usage=False)
    assert chat(client, max_tokens=100).choices[0].message.content == "Hi"
    assert spent_nanos(client.session) > provider.bill_nanos > 0


# -- concurrency ---------------------------------------------------------------------------------

CONCURRENT = """
import concurrent.futures
from agent_budget_guard import BudgetedSession, BudgetExceededError

client = BudgetedSession.openai(budget_usd=10.00)

def agent_task(task_id):
    for _ in range(10):
        try:
            client.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": f"Task {task_id}"}]
            )
        except BudgetExceededError:
            return

with concurrent.futures.ThreadPoolExecutor(max_workers=5) as executor:
    executor.map(agent_task, range(5))
"""


@pytest.mark.parametrize(("dollars", "calls"), [("10.00", 50), ("0.01", 33)])
def test_concurrent_agents(run, provider, dollars, calls):
    provider.default = Reply(output_tokens=500)
    client = run(CONCURRENT.replace("10.00", dollars))["client"]
    assert provider.requests == pytest.approx(calls, abs=6)
    assert spent_nanos(client.session) == provider.bill_nanos <= float(dollars) * 1e9
    assert client.session.get_reserved() == 0
    client.close()


# -- the session's API ---------------------------------------------------------------------------

SESSION = """
client.session.get_total_spent()        # USD spent so far
client.session.get_remaining_budget()   # USD remaining (accounts for in-flight calls)
client.session.get_summary()            # full breakdown dict
client.session.get_budget()             # total budget
client.session.get_reserved()           # USD reserved for in-flight calls
client.session.reset()                  # reset to zero
"""


@pytest.fixture
def client(run):
    with BudgetedSession.openai(budget_usd=5.00) as client:
        yield client


def test_session_api(run, client, provider):
    session = client.session
    chat(client)
    assert session.get_total_spent() == provider.bill > 0
    assert session.get_remaining_budget() == 5 - provider.bill
    assert session.get_budget() == 5.0
    assert session.get_reserved() == 0.0
    run(SESSION, client=client)
    assert client.session is session
    assert session.get_summary() == {
        "budget": 5.0,
        "spent": 0.0,
        "reserved": 0.0,
        "remaining": 5.0,
        "utilization_percent": 0.0,
    }


def test_a_call_in_flight_is_reserved(client, provider):
    session, gate = client.session, Gate(2)
    provider.default = Reply("Hi", gate=gate)
    thread = threading.Thread(target=chat, args=(client,), kwargs={"max_tokens": 1_000})
    thread.start()
    provider.wait_for_requests(1)
    summary = session.get_summary()
    assert summary["reserved"] == session.get_reserved() > 0.01
    assert summary["remaining"] == 5 - summary["reserved"]
    assert summary["utilization_percent"] == pytest.approx(summary["reserved"] / 5 * 100)
    gate.open()
    thread.join()
    assert session.get_reserved() == 0


@pytest.fixture
def epochs(monkeypatch):
    """Every account that a session had, in order."""
    opened, before = [], BudgetedSession._opened

    def noted(self):
        opened.append(before(self))
        return opened[-1]

    monkeypatch.setattr(BudgetedSession, "_opened", noted)
    return opened


def test_reset_while_a_call_is_in_flight(run, epochs, provider):
    client = BudgetedSession.openai(budget_usd=5.00)
    provider.script(Reply("Hi", gate=(gate := Gate(2))))
    answers = []
    thread = threading.Thread(target=lambda: answers.append(chat(client)))
    thread.start()
    provider.wait_for_requests(1)
    client.session.reset()
    assert client.session.get_summary()["remaining"] == 5.0
    chat(client)
    now = client.session.get_total_spent()
    gate.open()
    thread.join()
    assert answers[0].choices[0].message.content == "Hi"
    assert client.session.get_total_spent() == now
    first, second = epochs
    assert first.reserved == second.reserved == 0
    assert first.spent_nanos + second.spent_nanos == provider.bill_nanos
    client.close()


def test_reset_arms_the_warnings_and_gives_the_whole_budget(run, provider):
    warnings = []
    client = BudgetedSession.openai(
        budget_usd=1.00, on_warning=warnings.append, warning_thresholds=[50]
    )
    provider.default = Reply(output_tokens=60_000)
    for _ in range(3):
        provider.reset()
        with pytest.raises(BudgetExceededError):  # noqa: PT012
            for _ in range(5):
                chat(client)
        assert spent_nanos(client.session) == provider.bill_nanos > 900_000_000
        client.session.reset()
    assert [warning["threshold"] for warning in warnings] == [50, 50, 50]
    client.close()


def test_reset_in_eight_threads(run, epochs, provider):
    provider.default = Reply(output_tokens=200)
    client = BudgetedSession.openai(budget_usd=0.02)
    copy = client.with_options(timeout=60)

    def work(number):
        done = 0
        for turn in range(8):
            try:
                done += chat(copy if number % 2 else client, max_tokens=400) is not None
            except BudgetExceededError:
                client.session.reset()
            if turn == number:
                client.session.reset()
        return done

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        done = sum(pool.map(work, range(8)))
    assert done == provider.requests > 8
    assert len(epochs) > 8
    assert client.session.account in epochs
    assert sum(account.spent_nanos for account in epochs) == provider.bill_nanos
    for account in epochs:
        assert account.reserved == 0
        assert account.spent <= 0.02
        assert account.ledger.verify() == []
    client.close()


def test_accounts_of_the_past_are_forgotten(client, provider):
    chat(client)
    before = weakref.ref(client.session.account)
    client.session.reset()
    gc.collect()
    assert before() is None


def test_two_sessions_with_callbacks_of_their_own(run, provider):
    told = []
    first = BudgetedSession.openai(
        budget_usd=0.001, on_budget_exceeded=lambda e: told.append(("first", e.remaining))
    )
    second = BudgetedSession.openai(
        budget_usd=0.002, on_budget_exceeded=lambda e: told.append(("second", e.remaining))
    )
    assert chat(first, max_tokens=1_000) is chat(second, max_tokens=1_000) is None
    assert told == [("first", 0.001), ("second", 0.002)]
    first.close()
    second.close()


def test_no_loop_detection(client, provider):
    for _ in range(15):
        chat(client)
    assert spent_nanos(client.session) == provider.bill_nanos


# -- clients -------------------------------------------------------------------------------------

MANUAL = """
from openai import OpenAI
from agent_budget_guard import BudgetedSession

session = BudgetedSession(budget_usd=5.00)
client = session.wrap_openai(OpenAI())
"""


def test_a_session_for_several_clients(run, provider):
    found = run(MANUAL)
    client, session = found["client"], found["session"]
    assert client.session is session
    with anthropic.Anthropic() as plain:
        claude = session.wrap_anthropic(plain)
        chat(client)
        claude.messages.create(**CLAUDE)
        assert spent_nanos(session) == provider.bill_nanos > 0
        plain.messages.create(**CLAUDE)  # the one given stays as it is
        assert spent_nanos(session) == provider.bill_nanos - provider.bills[-1].nanos
        assert claude.session is session
    client.close()


def test_anthropic(run, provider):
    with BudgetedSession.anthropic(budget_usd=5.00, api_key="test") as client:
        client.messages.create(**CLAUDE)
        for _ in client.messages.create(stream=True, **CLAUDE):
            pass
        with client.messages.stream(**CLAUDE) as stream:
            assert "".join(stream.text_stream) == "Salt is salt."
        assert provider.requests == 3
        assert spent_nanos(client.session) == provider.bill_nanos > 0


def test_google(run, provider, monkeypatch):
    pytest.importorskip("budget_core.sdk.google.guard")
    answers = []
    client = BudgetedSession.google(
        budget_usd=5.00, api_key="test", http_options={"base_url": provider.google_url}
    )
    answers.append(client.models.generate_content(model="gemini-2.5-flash", contents="Hello"))
    assert answers[0].text == "Salt is salt."
    assert spent_nanos(client.session) == provider.bill_nanos > 0
    client.session.reset()
    client.models.generate_content(model="gemini-2.5-flash", contents="Hello")
    assert spent_nanos(client.session) == provider.bills[-1].nanos == provider.bill_nanos / 2


def test_google_over_the_limit(run, provider):
    pytest.importorskip("budget_core.sdk.google.guard")
    told = []
    client = BudgetedSession.google(
        budget_usd=0.000001,
        api_key="test",
        on_budget_exceeded=told.append,
        http_options={"base_url": provider.google_url},
    )
    answer = client.models.generate_content(model="gemini-2.5-flash", contents="Hello")
    assert answer is None
    assert isinstance(told[0], BudgetExceededError)
    assert not provider.requests


async def test_async_clients(run, provider):
    session = BudgetedSession(budget_usd=5.00)
    async with openai.AsyncOpenAI() as plain:
        client = session.wrap_openai(plain)
        assert (await chat(client)).choices[0].message.content == "Salt is salt."
        stream = await chat(client, stream=True)
        async for _ in stream:
            pass
    assert client.session is session
    assert spent_nanos(session) == provider.bill_nanos > 0


PATHS = {
    "parse": lambda client: client.chat.completions.parse(model="gpt-4o", messages=HELLO),
    "raw": lambda client: client.chat.completions.with_raw_response.create(
        model="gpt-4o", messages=HELLO
    ),
    "responses": lambda client: client.responses.create(model="gpt-4o", input="Hello"),
    "embeddings": lambda client: client.embeddings.create(
        model="text-embedding-3-small", input="salt " * 100
    ),
    "copy": lambda client: chat(client.with_options(timeout=9)),
    "whole stream": lambda client: list(chat(client, stream=True)),
}


@pytest.mark.parametrize("path", PATHS)
def test_every_path_of_a_client_is_paid_for(client, provider, path):
    PATHS[path](client)
    assert spent_nanos(client.session) == provider.bill_nanos > 0


def test_answers_cannot_outgrow_the_budget(run, provider):
    """Neither without a cap, nor by the number of answers, nor by what tools say."""
    provider.default = Reply(output_tokens=8_000)
    tools = [{"type": "function", "function": {"name": "f", "description": "x " * 9_000}}]
    for options in ({}, {"n": 5}, {"max_completion_tokens": 4_000}, {"tools": tools}):
        provider.reset()
        client = BudgetedSession.openai(budget_usd=0.02, on_budget_exceeded=lambda _: None)
        for _ in range(3):
            chat(client, **options)
        assert spent_nanos(client.session) == provider.bill_nanos <= 20_000_000
        client.close()


# -- prices --------------------------------------------------------------------------------------

BATCH = """
from agent_budget_guard import BudgetedSession

client = BudgetedSession.openai(budget_usd=5.00, tier="batch")
"""


def test_an_ordinary_call_of_the_batch_tier_costs_its_ordinary_price(run, provider, caplog):
    client = run(BATCH)["client"]
    assert "makes no call cheaper" in caplog.text
    chat(client)
    assert spent_nanos(client.session) == provider.bill_nanos > 0
    client.close()


def test_what_was_answered_as_a_batch_costs_the_price_of_a_batch(run):
    usage = {"prompt_tokens": 1_000, "completion_tokens": 1_000}
    session = BudgetedSession(budget_usd=5.00, tier="batch")
    session.account.wrap({"model": "gpt-4o", "usage": usage})
    ordinary = session.get_total_spent()
    session.reset()
    session.account.wrap({"model": "gpt-4o", "usage": usage, "service_tier": "batch"})
    assert session.get_total_spent() == ordinary / 2 > 0


SUPPORTED = (
    "GPT-5.2, GPT-5.1, GPT-5-mini, GPT-5-nano, GPT-4.1, GPT-4o, GPT-4o-mini, o1, o3, o3-pro, "
    "o4-mini, gpt-4-turbo, gpt-4, gpt-3.5-turbo"
)


@pytest.mark.parametrize("model", SUPPORTED.split(", "))
def test_supported_models(model):
    assert rates(model).output > 0


def test_further_settings_of_the_budget(run, provider):
    session = BudgetedSession(budget_usd=5.00, llm_calls=1)
    with openai.OpenAI() as plain:
        client = session.wrap_openai(plain)
        chat(client)
        with pytest.raises(BudgetExceededError):
            chat(client)
