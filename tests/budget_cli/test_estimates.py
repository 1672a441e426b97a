import json
from contextlib import suppress

import pytest

from budget_cli.estimates import estimate
from budget_core import AgentBudget, BudgetExhausted, CallRequest, Usage


def test_the_cost_of_a_call():
    found = estimate("gpt-4o", 2_000, 500)
    assert found.cost == found.held == 0.01
    assert (found.budget, found.allowed, found.fits) == (None, None, None)


def test_several_answers_and_calls():
    found = estimate("gpt-4o", 2_000, 500, n=3, calls=4)
    assert found.cost == pytest.approx(0.02)
    assert found.total == pytest.approx(0.08)


def test_a_tier_has_its_own_prices():
    flex, standard = estimate("gpt-5", 1_000, 100, tier="flex"), estimate("gpt-5", 1_000, 100)
    assert flex.cost == standard.cost / 2
    assert flex.held == standard.held  # nobody knows before the call whether the tier is granted


@pytest.mark.parametrize("spend", ["$0.05", "$0.099", "$0.0099", "$0"])
@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5"])
def test_a_session_allows_as_many_calls_as_were_promised(model, spend):
    found = estimate(model, 2_000, 500, budget=spend)
    request = CallRequest(model=model, input_tokens=2_000, output_cap=500)
    made = 0
    with AgentBudget(spend).session() as session, suppress(BudgetExhausted):
        while (call := session.open_call(request)).cap == 500:  # a last one may be cut shorter
            call.settle(Usage(2_000, 500))
            made += 1
    assert made == found.allowed


def test_an_uncapped_call_gets_the_cap_that_was_promised():
    found = estimate("gpt-4o", 2_000, 500, budget="$0.05")
    with AgentBudget("$0.05").session() as session:
        call = session.open_call(CallRequest(model="gpt-4o", input_tokens=2_000))
        assert (call.cap, session.reserved) == (found.uncapped_cap, found.uncapped_held)
        call.release()


def test_as_people_read_it(budget):
    line = ["estimate", "--model", "gpt-4o", "--in", 2_000, "--out", 500]
    shown = budget(*line, "--n", 2, "--calls", 9, "--budget", "$0.05", "--tier", "flex")
    assert shown.exit_code == 0
    for text in ("$0.015", "each of 2 answers", "flex", "not enough", "on the wire"):
        assert text in shown.stdout
    assert "enough for 2" in budget(*line, "--calls", 2, "--budget", "1").stdout
    assert "refused" in budget(*line, "--budget", "0.001").stdout


def test_as_json(budget):
    shown = budget(
        "estimate", "--model", "gpt-4o", "--in", 1, "--out", 1, "--budget", "1", "--json"
    )
    data = json.loads(shown.stdout)
    assert data["allowed"] == 80_000
    assert data["fits"] is True


def test_free_models_fit_any_number(budget):
    from budget_core import register_model

    register_model("free", 0, 0)
    shown = budget("estimate", "--model", "free", "--in", 1, "--out", 1, "--budget", "1")
    assert "any number of" in shown.stdout


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--model", "nix"], "No price is known"),
        (["--model", "gpt-4o", "--budget", "lots"], "'lots' is not a budget"),
        (["--model", "gpt-4o", "--budget", "$5/day"], "is not a budget"),
    ],
)
def test_what_cannot_be_estimated_exits_with_1(budget, more, said):
    shown = budget("estimate", "--in", 1, "--out", 1, *more)
    assert shown.exit_code == 1
    assert said in shown.stderr
