"""Which SDK alone can send what a model is asked: in doubt, none."""

import sys
from datetime import timedelta
from functools import cached_property
from types import ModuleType

import httpx
import openai
import pytest
import requests
from pydantic import BaseModel, PrivateAttr

from budget_core import AgentBudget, CallRequest
from budget_core.frameworks import ending, sender_of
from budget_core.sdk.installing import GuardLease


class Model:
    """A framework's class of all models."""

    def ask(self):
        raise NotImplementedError


class Private(BaseModel):
    """A model's class that keeps its client as pydantic has it."""

    _client = PrivateAttr(default=None)

    def ask(self):
        raise NotImplementedError


class Provider:
    """Makes clients for models."""

    def __init__(self, client):
        self._client = client


@pytest.fixture(autouse=True)
def guarded():
    lease = GuardLease()
    yield
    lease.release()


@pytest.fixture
def module(monkeypatch):
    """Make a module of an integration, which knows what it is given."""

    def make(name, **known):
        made = ModuleType(name)
        vars(made).update(known)
        monkeypatch.setitem(sys.modules, name, made)
        return name

    return make


def model(home, *bases, **attributes):
    kind = type("Mine", bases or (Model,), {"__module__": home, "ask": lambda self: self})
    made = kind()
    vars(made).update(attributes)
    return made


@pytest.fixture
def client():
    with openai.OpenAI(api_key="test") as made:
        yield made


def test_a_module_that_knows_one_sdk(module, client):
    for number, known in enumerate(({"sdk": openai}, {"kind": openai.OpenAI, "http": httpx})):
        home = module(f"one{number}", **known)
        assert sender_of(model(home, client=client.chat.completions), Model, "ask") == "openai"
        assert sender_of(model(home, _client=None), Model, "ask") == "openai"


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"json": sys},
        {"sdk": openai, "other": __import__("anthropic")},
        {"sdk": openai, "http": requests},
        {"sdk": openai, "post": requests.Session},
    ],
)
def test_a_module_that_may_send_by_other_means(module, known, client):
    assert sender_of(model(module("doubtful", **known), client=client), Model, "ask") is None


def test_where_a_client_may_be(module, client):
    home = module("places", sdk=openai)
    assert sender_of(model(home, _provider=Provider(client)), Model, "ask") == "openai"
    made = model(home, Private)
    assert sender_of(made, Private, "ask") == "openai"
    made._client = client
    assert sender_of(made, Private, "ask") == "openai"
    lazy = type("Lazy", (Model,), {"_client": cached_property(id)})
    assert sender_of(model(home, lazy), lazy, "ask") == "openai"


def test_one_that_asks_other_models_has_none(module, client):
    asked = model(module("asked", sdk=openai), client=client)
    assert sender_of(model(module("router", sdk=openai), asks=[asked]), Model, "ask") is None


def test_a_client_of_somebody_elses(module, client):
    home = module("plain", sdk=openai)
    assert sender_of(model(home, client=client, _async_client=None), Model, "ask") == "openai"
    assert sender_of(model(home, client=client, async_client=object()), Model, "ask") is None


def test_a_subclass_counts_if_it_asks_in_a_way_of_its_own(module, client):
    parent = type(model(module("theirs", sdk=openai)))
    named = type("Named", (parent,), {"client": None})()
    named.client = client
    assert sender_of(named, Model, "ask") == "openai"
    for known in ({}, {"sdk": openai}):
        mine = model(module("mine", **known), parent, client=client)
        assert sender_of(mine, Model, "ask") is None
    inside = model(module("theirs.azure", sdk=openai), parent, client=client)
    assert sender_of(inside, Model, "ask") == "openai"
    assert sender_of(Model(), Model, "ask") is None


@pytest.fixture
def session():
    with AgentBudget("$1", parent=None).session() as opened:
        yield opened


REQUEST = CallRequest(model="gpt-4o", input_tokens=0, output_cap=1_000)


@pytest.mark.parametrize("error", [ValueError("local"), KeyboardInterrupt()])
def test_what_no_guard_saw_is_free(session, error):
    with pytest.raises(type(error)), ending(session.open_call(REQUEST), sdk="openai"):
        raise error
    assert (session.spent_nanos, session.reserved) == (0, 0)


def answered(status):
    response = httpx.Response(status, request=httpx.Request("POST", "http://localhost"))
    response.elapsed = timedelta(seconds=1)
    return openai.APIStatusError("late", response=response, body=None)


@pytest.mark.parametrize("cause", [httpx.ReadTimeout("no answer"), answered(504)])
def test_what_an_http_client_has_seen_was_sent_whoever_saw_it(session, cause):
    with pytest.raises(ValueError, match="late"), ending(session.open_call(REQUEST), sdk="openai"):
        raise ValueError("late") from cause
    assert session.spent_nanos == 10_000_000


def test_what_a_guard_has_adopted_is_left_to_it(session):
    call = session.open_call(REQUEST)
    assert call.claim()
    with pytest.raises(ValueError, match="local"), ending(call, sdk="openai"):
        raise ValueError("local")
    assert session.reserved == 0.01
    call.settle(None)
