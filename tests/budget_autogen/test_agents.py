"""Agents of whichever AutoGen is meant."""

import os
import subprocess
import sys

import pytest
from autogen_agentchat.agents import AssistantAgent, UserProxyAgent
from autogen_ext.models.replay import ReplayChatCompletionClient

from budget_autogen import BudgetedAssistantAgent, BudgetedUserProxyAgent, agentchat, classic
from budget_core import UnknownSetting
from budget_core.testing import Reply

autogen = pytest.importorskip("autogen")


def replaying():
    return ReplayChatCompletionClient(["hi"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: BudgetedAssistantAgent("a", model_client=replaying(), budget="$1"),
        lambda: BudgetedAssistantAgent("a", replaying(), budget="$1"),
        lambda: BudgetedAssistantAgent(name="a", model_client=replaying()),
    ],
)
def test_a_model_client_means_agentchat(make):
    agent = make()
    assert type(agent) is agentchat.BudgetedAssistantAgent
    assert isinstance(agent, AssistantAgent)
    assert isinstance(agent, BudgetedAssistantAgent)


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("soft_limt", "soft_limit"),
        ("on_exhaustd", "on_exhausted"),
        ("system_mesage", "system_message"),
    ],
)
@pytest.mark.parametrize("lineage", [{"model_client": replaying()}, {"llm_config": False}])
def test_a_typo_names_what_was_meant(lineage, typo, meant):
    with pytest.raises(TypeError, match=f"no setting '{typo}'. Did you mean '{meant}'") as caught:
        BudgetedAssistantAgent("a", budget="$1", **lineage, **{typo: "x"})
    assert isinstance(caught.value, UnknownSetting)


def test_so_do_tools(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    agent = BudgetedAssistantAgent("a", tools=[], max_tool_iterations=2)
    assert type(agent) is agentchat.BudgetedAssistantAgent


def test_an_input_function_means_agentchat():
    agent = BudgetedUserProxyAgent("user", input_func=lambda _: "yes")
    assert type(agent) is agentchat.BudgetedUserProxyAgent
    assert isinstance(agent, UserProxyAgent)


def test_an_llm_config_means_classic():
    config = {"model": "gpt-4o-mini", "api_key": "test"}
    agent = BudgetedAssistantAgent("a", llm_config=config, budget="$1")
    assert type(agent) is classic.BudgetedAssistantAgent
    assert isinstance(agent, autogen.AssistantAgent)
    assert isinstance(agent, BudgetedAssistantAgent)
    assert type(BudgetedUserProxyAgent("u", human_input_mode="NEVER")) is (
        classic.BudgetedUserProxyAgent
    )


class Mine(BudgetedAssistantAgent):
    """A subclass that does not know of which AutoGen it will be."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.mine = True


def test_a_subclass():
    newer = Mine("a", model_client=replaying(), budget="$1")
    older = Mine("a", llm_config={"model": "gpt-4o", "api_key": "test"}, budget="$1")
    assert newer.mine
    assert older.mine
    assert isinstance(newer, Mine)
    assert isinstance(newer, agentchat.BudgetedAssistantAgent)
    assert isinstance(older, Mine)
    assert isinstance(older, classic.BudgetedAssistantAgent)


DOCUMENTED = """
from budget_autogen import BudgetedAssistantAgent, BudgetedUserProxyAgent

assistant = BudgetedAssistantAgent(name="assistant", budget="$5.00")
user = BudgetedUserProxyAgent(name="user", budget="$5.00")
result = user.initiate_chat(assistant, message="What is 2 + 2?")
print(assistant.get_report()["total_spent"], result.summary)
"""
WITHOUT = """
import importlib.util, sys
found = importlib.util.find_spec
def find_spec(name, *rest):
    return None if name in {missing!r} else found(name, *rest)
importlib.util.find_spec = find_spec
for name in {missing!r}:
    sys.modules[name] = None
"""


def play(tmp_path, provider, *, missing=(), model=None):
    environ = {
        **{key: value for key, value in os.environ.items() if key != "OPENAI_MODEL"},
        "OPENAI_API_KEY": "test",
        "OPENAI_BASE_URL": provider.openai_url,
        **({"OPENAI_MODEL": model} if model else {}),
    }
    code = (WITHOUT.format(missing=missing) if missing else "") + DOCUMENTED
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("missing", [(), ("autogen",), ("autogen_agentchat", "autogen_ext")])
def test_the_documented_example(missing, tmp_path, provider):
    provider.script(Reply("It is 4."))
    done = play(tmp_path, provider, missing=missing)
    assert done.returncode == 0, done.stderr
    assert provider.requests == 1
    assert provider.bills[0].model == "gpt-4o-mini"
    assert done.stdout.rstrip().endswith(f"{provider.bill} It is 4.")


def test_the_model_of_the_environment(tmp_path, provider):
    done = play(tmp_path, provider, model="gpt-4o")
    assert done.returncode == 0, done.stderr
    assert provider.bills[0].model == "gpt-4o"


def test_without_any_autogen(tmp_path, provider):
    done = play(tmp_path, provider, missing=("autogen", "autogen_agentchat"))
    assert "pip install 'budget-suite[autogen]'" in done.stderr
