"""Crews that talk to the test provider, and nobody else."""

import contextlib
import logging
import os
import socket
import tempfile
import warnings
from pathlib import Path

os.environ.update(
    OTEL_SDK_DISABLED="true",
    CREWAI_DISABLE_TELEMETRY="true",
    CREWAI_TRACING_ENABLED="false",
    CREWAI_STORAGE_DIR=tempfile.mkdtemp(prefix="crewai-"),
)

import pytest

with warnings.catch_warnings():  # many, of its own and its dependencies'
    warnings.simplefilter("ignore")
    import crewai
    from crewai.tools import tool

from budget_core import BudgetExhausted
from budget_core.sdk import installing
from budget_core.sdk.anthropic import GUARD as anthropic_guard
from budget_core.sdk.openai import GUARD as openai_guard
from budget_core.testing import Reply, ToolCall
from budget_crewai import CrewAIBudgetMiddleware

IGNORED = (
    # CrewAI's own: clients and pipes that it leaves to the garbage collector
    "ignore:unclosed:ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::DeprecationWarning",
    "ignore::pydantic.warnings.PydanticDeprecatedSince20",
    "ignore::UserWarning:crewai",
)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent == Path(__file__).parent:
            for ignored in IGNORED:
                item.add_marker(pytest.mark.filterwarnings(ignored))


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """CrewAI logs every refusal as an error, and asks for a key whatever it is used for."""
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(autouse=True)
def connected(monkeypatch):
    """Refuse, and tell of, every connection that is not to this machine itself."""
    strangers = []
    connect = socket.socket.connect

    def checked(self, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            strangers.append(address)
            raise OSError(f"no connection to {address} in tests")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", checked)
    yield strangers
    assert strangers == []


@pytest.fixture
def unguarded():
    """Take the guards out of the SDKs."""
    guards = [openai_guard, anthropic_guard]
    for guard in guards:
        guard.uninstall()
    yield
    for guard in guards:
        if guard in installing._installed.values():
            guard.install()


@tool("search")
def search(query: str) -> str:
    """Search the web."""
    return f"found {query}"


class Kit:
    """Makes what a test runs."""

    def __init__(self, provider):
        self.provider = provider
        self.search = search
        self.tokens = {"input_tokens": 400, "output_tokens": 50}

    def llm(self, **options):
        settings = {"model": "openai/gpt-4o", "api_key": "test", "max_retries": 0, **options}
        return crewai.LLM(base_url=self.provider.openai_url, **settings)

    def claude(self, **options):
        model = "anthropic/claude-sonnet-4-6"
        return crewai.LLM(model=model, api_key="test", base_url=self.provider.url, **options)

    def agent(self, role="Researcher", **options):
        settings = {"llm": self.llm(), "goal": "find out", "backstory": "curious", **options}
        return crewai.Agent(role=role, **settings)

    def task(self, name="research", agent=None, **options):
        return crewai.Task(
            name=name, description=f"Do {name}.", expected_output="a text", agent=agent, **options
        )

    def crew(self, *agents, **options):
        """A crew of agents with one task each."""
        agents = agents or (self.agent(), self.agent("Writer"))
        tasks = [self.task(f"task {at}", agent) for at, agent in enumerate(agents, 1)]
        return crewai.Crew(agents=list(agents), tasks=tasks, **options)

    def reply(self, text="done", **options):
        return Reply(text, **{**self.tokens, **options})

    def calls(self, name, **arguments):
        return Reply(tool_calls=[ToolCall(name, arguments)], **self.tokens)

    def searches(self, times=2):
        """Let agents with tools search a number of times, each, before they answer."""

        def respond(incoming):
            done = sum(message["role"] == "tool" for message in incoming.messages)
            if incoming.tools and done < times:
                return self.calls("search", query=str(done))
            return self.reply()

        self.provider.respond(respond)

    def restless(self):
        """Let agents search for as long as they have tools."""

        def respond(incoming):
            if incoming.tools:
                return self.calls("search", query=str(incoming.index))
            return self.reply("what I know")

        self.provider.respond(respond)


@pytest.fixture
def kit(provider):
    provider.default = Reply("done", input_tokens=400, output_tokens=50)
    return Kit(provider)


@pytest.fixture
def square(provider):
    """Check the books against the provider's own."""

    def check(session, *, exact=True):
        provider.wait_idle()
        bill, spent = provider.bill_nanos, session.spent_nanos
        assert bill == spent if exact else bill <= spent
        limit = session.limits.lifelong("usd")
        assert limit is None or bill <= limit
        assert session.ledger.verify() == []
        assert session.reserved == 0
        assert not any(session.balance().reserved)

    return check


@pytest.fixture
def budget():
    """Make a budget in which loops are no subject."""

    def make(amount="$5", **options):
        return CrewAIBudgetMiddleware(amount, **{"max_repeated_calls": None, **options})

    return make


@contextlib.contextmanager
def _refused():
    with pytest.raises(BudgetExhausted) as caught:
        yield caught
    assert isinstance(caught.value, crewai.hooks.HookAborted)


@pytest.fixture
def refused():
    """Expect the error that stops a crew."""
    return _refused
