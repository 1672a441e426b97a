"""`budget_core.init` under CrewAI: nothing is passed, and the limits of agents hold."""

import logging
import re
import subprocess
import sys
import threading

import pytest

import budget_core
from budget_core import init
from budget_core.calls import context
from budget_core.frameworks import integration, joining
from budget_core.hooks import DropinRequest
from budget_crewai import dropin


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    assert integration._watching == integration._begun == {}
    assert context.offered() == ()


def test_a_crew_is_paid_for_and_told_apart(kit, square):
    kit.searches()
    with init("$1", max_repeated_calls=None) as session:
        kit.crew(kit.agent(tools=[kit.search]), kit.agent("Writer")).kickoff()
    breakdown = session.report()["breakdown"]
    assert breakdown["agents"]["by_agent"] == {"Researcher": 0.0045, "Writer": 0.0015}
    assert breakdown["tools"]["calls"] == 2
    square(session)


def test_it_is_stopped_at_once(kit, provider, square, refused):
    with refused(), init(None, llm_calls=1) as session:
        kit.crew().kickoff()
    assert provider.requests == 1
    square(session)


def test_an_agents_limit_holds(kit, square, refused):
    with refused(), init("$1", agents={"Writer": "$0.0001"}) as session:
        kit.crew().kickoff()
    assert session.spent == 0.0015
    square(session)


def test_it_holds_in_a_plain_thread(kit, square):
    def run():
        with refusing():
            kit.crew().kickoff()

    refusing = lambda: pytest.raises(budget_core.BudgetExhausted)  # noqa: E731
    with init(None, llm_calls=1) as session:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(60)
    assert session.balance().spent.llm_calls == 1
    square(session)


def test_a_budget_of_its_own_inside_pays_as_well(kit, budget, square):
    with init("$1", max_repeated_calls=None) as session, budget() as middleware:
        kit.crew().kickoff()
    assert middleware.session.spent == session.spent == 0.003
    square(session)


def test_crewai_may_be_imported_later():
    code = """
import os, sys
import budget_core
session = budget_core.init("$1", agents={"Writer": "$0.1"})
assert "crewai" not in sys.modules
sys.stdout.write(f"<said {len(session.children())}>")
import crewai
sys.stdout.write(f"<said {len(session.children())}>")
llm = crewai.LLM(model="openai/gpt-4o", api_key="test", base_url="http://127.0.0.1:9/v1", max_retries=0)
try:
    llm.call("What is a tide?")
except ConnectionError:
    sys.stdout.write(f"<said {len(session.children())}>")
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)  # noqa: S603
    said = re.findall(r"<said (\d+)>", done.stdout)  # CrewAI's threads write there, too
    assert said == ["0", "1", "1"], done.stderr


def test_what_the_agents_cannot_have_is_logged_and_the_budget_holds(kit, square, caplog):
    logging.disable(logging.NOTSET)
    both = {"Researcher": "$1", "Writer": "$1"}
    with init("$1", agents=both, finalization_reserve=0.9) as session:
        kit.crew().kickoff()
    assert "agents=" in caplog.text
    square(session)


def test_without_crewai_nobody_watches(monkeypatch):
    monkeypatch.setattr(joining, "find_spec", lambda _: None)
    with init("$1") as session:
        assert dropin.budget_dropin(DropinRequest(session, {})) is None
