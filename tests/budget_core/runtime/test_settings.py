"""A setting that nobody knows is an error where it was written, and names the one that was meant."""

import inspect

import anthropic
import openai
import pytest
from google import genai

import budget_core
from budget_core import (
    AgentBudget,
    AsyncBudgetedOpenAI,
    BudgetedAnthropic,
    BudgetedGoogle,
    BudgetedOpenAI,
    ConfigurationError,
    UnknownSetting,
    watch_client,
)
from budget_core.quota import Api, Watch
from budget_core.runtime.settings import check_settings, checked_settings

URL = "https://api.example.com"


def session(**settings):
    return AgentBudget("$5").session("s", **settings)


def child(**settings):
    return AgentBudget("$5").session().child_session("$1", **settings)


def init(**settings):
    with budget_core.init("$5", **settings):
        pass


def init_of_a_budget(**settings):
    with budget_core.init(AgentBudget("$5"), **settings):
        pass


def watched(**settings):
    return watch_client(openai.OpenAI(api_key="k"), "$5", **settings)


def google(**settings):
    return BudgetedGoogle(api_key="k", budget="$5", **settings)


TYPOS = [
    (AgentBudget, "soft_limt", "soft_limit"),
    (AgentBudget, "webhook_ulr", "webhook_url"),
    (session, "soft_limt", "soft_limit"),
    (session, "max_repeated_cals", "max_repeated_calls"),
    (child, "tokns", "tokens"),
    (child, "on_soft_limt", "on_soft_limit"),
    (init, "soft_limt", "soft_limit"),
    (init, "scop", "scope"),
    (init_of_a_budget, "lables", "labels"),
    (BudgetedOpenAI, "budgt", "budget"),
    (BudgetedOpenAI, "max_retrys", "max_retries"),
    (AsyncBudgetedOpenAI, "on_exhaustd", "on_exhausted"),
    (BudgetedAnthropic, "warning_treshold", "warning_thresholds"),
    (google, "vertex_ai", "vertexai"),
    (watched, "fail_opn", "fail_open"),
    (watched, "collectr", "collector"),
    (watched, "sof_limit", "soft_limit"),
    (lambda **s: Api("a", URL, **s), "limts", "limits"),
    (lambda **s: Watch(Api("a", URL), **s), "on_limt", "on_limit"),
]


@pytest.mark.parametrize(("make", "typo", "meant"), TYPOS)
def test_a_typo_names_itself_and_what_was_meant(make, typo, meant):
    with pytest.raises(TypeError, match=f"has no setting '{typo}'. Did you mean '{meant}'?") as e:
        make(**{typo: 1})
    assert isinstance(e.value, UnknownSetting)
    assert isinstance(e.value, ConfigurationError)
    assert (e.value.setting, e.value.nearest) == (typo, meant)


def test_it_is_raised_where_it_was_written():
    with pytest.raises(UnknownSetting) as caught:
        session(soft_limt=0.5)
    assert [entry.name for entry in caught.traceback] == [
        "test_it_is_raised_where_it_was_written",
        "session",
        "session",
        "check_settings",
    ]


def test_nothing_is_in_force_after_a_typo():
    with pytest.raises(UnknownSetting):
        budget_core.init("$5", soft_limt=0.5)
    assert budget_core.get_session() is None


def test_what_is_like_nothing_gets_the_list():
    with pytest.raises(UnknownSetting, match=r"session has no setting 'sesion_id'. It has .*name"):
        session(sesion_id="x")


def test_right_settings_are_taken_by_place_and_by_name():
    assert AgentBudget("$5", 0.5, max_repeated_calls=3).policy.max_repeated_calls == 3
    assert session(soft_limit=0.5, labels={"a": "b"}).policy.soft_limit == 0.5
    assert child(tokens=5, soft_limit=None).policy.soft_limit is None


def test_classes_keep_their_signatures():
    assert next(iter(inspect.signature(AgentBudget).parameters)) == "max_spend"
    assert list(inspect.signature(Api).parameters) == ["name", "base_url", "limits"]


def test_a_subclass_may_have_settings_of_its_own():
    class Mine(AgentBudget):
        def __init__(self, *args, colour, **options):
            super().__init__(*args, **options)
            self.colour = colour

    assert Mine("$5", colour="red", soft_limit=0.5).colour == "red"
    with pytest.raises(UnknownSetting, match="soft_limt"):
        Mine("$5", colour="red", soft_limt=0.5)


@pytest.mark.parametrize(
    ("kind", "base"),
    [(BudgetedOpenAI, openai.OpenAI), (BudgetedAnthropic, anthropic.Anthropic)],
)
def test_a_budgeted_client_takes_what_its_client_takes(kind, base):
    client = kind(api_key="k", budget="$1", max_retries=0, base_url=URL)
    assert client.max_retries == 0
    assert client.with_options(timeout=3).timeout == 3
    assert isinstance(client, base)


def test_a_budgeted_google_client_takes_what_its_client_takes():
    assert isinstance(google(http_options={"timeout": 5}), genai.Client)


def test_the_checked_are_named_as_they_are_asked_to():
    @checked_settings
    class Thing:
        def __init__(self, *, size=1):
            self.size = size

    assert Thing(size=2).size == 2
    with pytest.raises(UnknownSetting, match=r"^Box has no setting 'siz'"):
        check_settings({"siz": 1}, Thing, of="Box")
