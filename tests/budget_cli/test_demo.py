import json

import pytest
from rich.console import Console

from budget_cli.demo.documents import shipped
from budget_cli.demo.researcher import ANGLES, Notes, next_step, summary
from budget_cli.demo.run import MOST_CALLS, Outcome, Setting, Step, run_agent
from budget_cli.demo.screen import Screen
from budget_cli.demo.verdict import promises


@pytest.fixture(scope="module")
def document(process):
    done = process("demo", "--json", HTTP_PROXY="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def the(document, run):
    return next(each for each in document["runs"] if each["run"] == run)


def test_every_promise_is_held(document):
    assert document["ok"] is True
    assert all(promise["held"] for promise in document["promises"])
    assert len(document["promises"]) == 5
    assert document["provider"] == "embedded"


def test_without_a_budget_it_runs_away(document):
    run = the(document, "unbudgeted")
    assert run["bill_nanos"] > document["budget_nanos"]
    assert (run["calls"], run["blocked"], run["total_spent"]) == (MOST_CALLS, 0, None)


def test_raise_stops_it_within_the_budget(document):
    run = the(document, "raise")
    assert 0 < run["bill_nanos"] <= document["budget_nanos"]
    assert run["bill_nanos"] == run["total_spent_nanos"]
    assert run["outcome"] == "budget exhausted"
    assert run["blocked"] >= 1
    assert run["answer"] is None


def test_finalize_ends_with_an_answer_made_of_what_was_read(document):
    run = the(document, "finalize")
    assert 0 < run["bill_nanos"] <= document["budget_nanos"]
    assert run["bill_nanos"] == run["total_spent_nanos"]
    assert run["outcome"] == "answered"
    assert "$6.8 million" in run["answer"]
    assert run["steps"][-1]["action"] == "answer"
    assert run["steps"][-1]["output_cap"] >= run["steps"][-1]["output_tokens"]


def test_steps_add_up_to_the_bill(document):
    for run in document["runs"]:
        assert sum(step["cost_nanos"] for step in run["steps"]) == run["bill_nanos"]


def test_one_run_as_people_see_it(budget, monkeypatch):
    shown = budget("demo", "--run", "finalize", "--fast")
    assert shown.exit_code == 0, shown.output
    for text in ("read battery-quote.md", "refused", "the agent's answer", "Comparison", "✓"):
        assert text in shown.stdout


def test_a_broken_promise_exits_with_1(budget):
    shown = budget("demo", "--run", "unbudgeted", "--budget", "5", "--fast")
    assert shown.exit_code == 1
    assert "try a smaller --budget" in shown.stdout


def test_too_little_for_even_one_call_exits_with_1(budget):
    shown = budget("demo", "--run", "finalize", "--budget", "0.0001", "--json")
    data = json.loads(shown.stdout)
    assert shown.exit_code == 1
    assert the(data, "finalize")["bill_nanos"] == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--model", "gpt-17"], "does not sell 'gpt-17'"),
        (["--budget", "nothing"], "'nothing' is not a budget"),
        (["--budget", "0"], "more than 0"),
        (["--budget", "100 calls"], "takes dollars"),
        (["--real"], "OPENAI_API_KEY"),
    ],
)
def test_what_cannot_run_exits_with_1(budget, monkeypatch, args, said):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    shown = budget("demo", *args)
    assert shown.exit_code == 1
    assert said in " ".join(shown.stderr.split())


def test_missing_frameworks_are_named(budget, monkeypatch):
    monkeypatch.setattr("budget_cli.demo.command.find_spec", lambda name: None)
    shown = budget("demo")
    assert shown.exit_code == 1
    assert "pip install 'budget-suite[demo]'" in shown.stderr


def test_real_asks_openai_and_leaves_the_runaway_out(budget, monkeypatch, provider):
    """The real path, with OpenAI's address pointing at the test provider."""
    from budget_cli.demo.researcher import Researcher

    provider.respond(Researcher())
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("OPENAI_BASE_URL", provider.openai_url)
    shown = budget("demo", "--real", "--json")
    data = json.loads(shown.stdout)
    assert shown.exit_code == 0
    assert [run["run"] for run in data["runs"]] == ["raise", "finalize"]
    assert all(run["bill"] is None and run["agree"] is None for run in data["runs"])
    assert sum(run["total_spent_nanos"] for run in data["runs"]) == provider.bill_nanos
    assert budget("demo", "--real", "--run", "unbudgeted", "--fast").exit_code == 0


def test_a_terminal_gets_a_live_bar():
    console = Console(force_terminal=True, width=80, record=True)
    setting = Setting("gpt-4o", 50_000_000)
    screen = Screen(console, setting)
    screen.opening()
    outcome = run_agent("finalize", setting, screen)
    screen.comparison([outcome], promises([outcome], setting.budget))
    shown = console.export_text()
    assert max(map(len, shown.splitlines()[-12:])) <= 80
    assert "kept" in shown


def test_an_answer_cut_at_its_cap_says_so():
    console = Console(width=80, record=True)
    outcome = Outcome("finalize", bill=1, spent=2, ended="answered", answer="Half an", cut=True)
    outcome.steps.append(Step(1, "answer", 1, 1, 1, 1, 1, 0, final=True))
    screen = Screen(console, Setting("gpt-4o", 100))
    screen.ended(outcome)
    screen.comparison([outcome], promises([outcome], 100))
    shown = console.export_text()
    assert "cut at its cap" in shown
    assert "✗" in shown


def test_the_library_finds_and_reads():
    library = shipped()
    assert len(library.texts) >= 6
    assert library.search("winter consumption trial").startswith("1. winter-trial.md: Winter trial")
    assert library.read("grid-study.md").startswith("# Connecting")
    assert "There are: battery-quote.md" in library.read("nothing.md")


def test_the_researcher_never_runs_out_of_questions():
    searched = tuple(("search_documents", {}) for _ in range(200))
    seen = {
        next_step(Notes(searched[: 2 * lap], (), {}, told_to_stop=False))[1].json
        for lap in range(len(ANGLES) * 7)
    }
    assert len(seen) == len(ANGLES) * 7
    again, call = next_step(
        Notes((("read_document", {"name": "a.md"}),), ("a.md",), {}, told_to_stop=False)
    )
    assert "again" in again
    assert call.arguments == {"name": "a.md"}


def test_the_researcher_claims_nothing_that_it_has_not_read():
    assert "cannot answer" in summary(Notes((), (), {}, told_to_stop=True))
