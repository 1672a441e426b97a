"""``budget quota``: what is used of watched APIs, and what they say is left."""

import json
import time

import pytest

from budget_core.ledger import ledger_from
from budget_core.quota import Api, Watch
from budget_core.quota.board import Board
from budget_core.runtime.waiting import run


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("BUDGET_LEDGER", raising=False)


@pytest.fixture
def url(tmp_path):
    """A ledger in which three of sixty requests have been counted."""
    url = f"sqlite:///{tmp_path}/quota.db"
    ledger = ledger_from(url)
    watch = Watch(Api("OpenAI", "https://api.openai.com", ["60 requests/day"]), ledger=ledger)
    limiter = watch._watched[0].limiter
    for _ in range(3):
        limiter.settle(run(limiter.steps(0, 0)), 0)
    yield url
    ledger.close_connection()


def said(resets_at, **room):
    board = Board()
    headroom = {"requests": {"limit": 60, "remaining": 43, "resets_at": resets_at, **room}}
    board.post({"api": "OpenAI", "base_url": "https://api.openai.com", "headroom": headroom})
    board.close()


def test_what_is_used_is_in_the_ledger(budget, url):
    shown = budget("quota", "--ledger", url, "--json")
    assert json.loads(shown.stdout) == [
        {
            "api": "OpenAI",
            "headroom": {},
            "limits": [
                {"limit": "60 requests/day", "amount": 60, "used": 3, "held": 0, "left": 57}
            ],
        }
    ]
    table = budget("quota", "--ledger", url).stdout.splitlines()
    assert table[1].split() == ["OpenAI", "60", "requests/day", "3", "0", "57"]


def test_what_an_api_said_stands_beside_it(budget, url):
    said(time.time() + 600)
    (api,) = json.loads(budget("quota", "--ledger", url, "--json").stdout)
    assert api["headroom"]["requests"]["remaining"] == 43
    assert api["limits"][0]["used"] == 3
    lines = budget("quota", "--ledger", url).stdout.splitlines()
    assert lines[1].split()[0] == "OpenAI"
    assert lines[2].split()[:5] == ["it", "says:", "60", "requests", "43"]
    assert lines[2].rstrip().endswith(" s")


def test_without_a_ledger_it_is_all_there_is_and_past_its_time_it_is_whole_again(budget):
    said(time.time() - 1)
    (api,) = json.loads(budget("quota", "--json").stdout)
    assert api["headroom"]["requests"]["remaining"] == 60
    assert budget("quota").stdout.splitlines()[1].split()[-1] == "now"


def test_what_is_not_told_is_left_open(budget):
    said(None, limit=None)
    assert budget("quota").stdout.splitlines()[1].split() == [
        "OpenAI",
        "it",
        "says:",
        "requests",
        "43",
    ]


def test_nothing(budget):
    assert json.loads(budget("quota", "--json").stdout) == []
    assert "no API was watched" in budget("quota").stdout
