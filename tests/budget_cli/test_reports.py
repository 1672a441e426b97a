import json

import pytest

from budget_cli.reports import ReportError, read_report
from budget_core import AgentBudget, BudgetExhausted, CallRequest, Usage


@pytest.fixture
def report():
    budget = AgentBudget("$1.00", tool_calls=10, finalization_reserve="$0.10", soft_limit=0.2)
    with budget.session("thread-42") as session:
        request = CallRequest(model="gpt-4o", input_tokens=9_000, agent="writer")
        session.open_call(request).settle(Usage(8_000, 20_000, cache_read=4_000, reasoning=11))
        session.track("found", cost=0.05, tool_name="search")
        with session.child_session("$0.20", name="helper") as child:
            child.track("x", cost=0.01, tool_name="[odd] name")
        with pytest.raises(BudgetExhausted):
            session.open_call(CallRequest(kind="tool", name="dear", cost=10**10))
        session.open_call(CallRequest(model="gpt-4o", input_tokens=1_000, output_cap=10))
        return session.report()


@pytest.fixture
def saved(report, tmp_path):
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report), encoding="utf-8")
    return file


def test_a_report_as_people_read_it(budget, saved, report):
    shown = budget("report", saved)
    assert shown.exit_code == 0
    for text in (
        "thread-42", "budget exhausted", "of $1.00", "gpt-4o", "search", "writer", "helper",
        "[odd] name", "8,000 input", "11 reasoning", "soft limit", "refused", "held", "tool calls",
    ):  # fmt: skip
        assert text in shown.stdout, text


def test_json_passes_the_report_through(budget, saved, report):
    assert json.loads(budget("report", saved, "--json").stdout) == json.loads(json.dumps(report))


def test_it_reads_stdin(budget, report):
    shown = budget("report", "-", stdin=json.dumps(report))
    assert shown.exit_code == 0
    assert "thread-42" in shown.stdout


def test_an_older_or_shorter_report_is_filled_in(budget, tmp_path):
    old = {
        "session_id": "sess_abc123",
        "budget": 5.0,
        "total_spent": 3.42,
        "breakdown": {"llm": {"total": 3.42, "calls": 8, "by_model": {"a": 1.0, "b": 2.42}}},
        "events": [{}, {"type": "call", "timestamp": "noon", "cost": 0.5, "ok": True}],
    }
    found = read_report(json.dumps(old))
    assert found["remaining"] == pytest.approx(1.58)
    assert found["total_spent_nanos"] == 3_420_000_000
    assert list(found["breakdown"]["llm"]["by_model"]) == ["b", "a"]
    assert found["breakdown"]["tokens"]["input"] == 0
    file = tmp_path / "old.json"
    file.write_text(json.dumps(old))
    assert "sess_abc123" in budget("report", file).stdout


def test_overage_no_limit_and_nothing_at_all(budget):
    over = {
        "session_id": "s",
        "total_spent": 3,
        "budget": 2,
        "unpriced_calls": 2,
        "finalized": True,
    }
    shown = budget("report", "-", stdin=json.dumps(over)).stdout
    assert "$1.00 over the budget" in shown
    assert "2 calls without a price" in shown
    free = budget("report", "-", stdin=json.dumps({"session_id": "s", "total_spent": 0}))
    assert free.exit_code == 0
    assert "$0.00 spent" in free.stdout


def test_many_events_are_shortened(budget, report):
    report["events"] = report["events"][:1] * 30
    assert "10 earlier events" in budget("report", "-", stdin=json.dumps(report)).stdout


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("not json", "it is not JSON"),
        ("[]", "not an object"),
        ("{}", "'session_id'"),
        ('{"session_id": "s", "total_spent": "much"}', "another shape"),
        ('{"session_id": "s", "total_spent": 1, "breakdown": {"llm": [1]}}', "another shape"),
    ],
)
def test_what_is_no_report_exits_with_1(budget, tmp_path, text, why):
    file = tmp_path / "bad.json"
    file.write_text(text)
    shown = budget("report", file)
    assert shown.exit_code == 1
    assert shown.stdout == ""
    assert "is not a budget report" in shown.stderr
    with pytest.raises(ReportError, match=why):
        read_report(text)


def test_a_file_that_cannot_be_read_exits_with_1(budget, tmp_path):
    shown = budget("report", tmp_path / "nowhere.json")
    assert shown.exit_code == 1
    assert "No such file" in shown.stderr
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    assert budget("report", tmp_path / "binary").exit_code == 1


def test_children_that_ended_the_rest_and_limits_per_period(budget, tmp_path):
    with AgentBudget(["$5", "$1/day"]).session() as session:
        for n in range(130):
            with session.child_session("$0.5", label=f"agent {n}") as child:
                child.track(cost=0.001)
        file = tmp_path / "report.json"
        file.write_text(json.dumps(session.report()))
    shown = budget("report", file).stdout
    assert "agent 129" in shown
    assert "agent 3 " not in shown
    assert "and 30 others" in shown
    assert "$0.13 of $1.00/day" in shown
    told = json.loads(budget("report", file, "--json").stdout)
    assert told["other_children"] == {"count": 30, "total_spent": 0.03}
    assert told["windows"][0]["spent"] == 0.13
