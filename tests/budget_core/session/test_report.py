import gc
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from budget_core import AgentBudget, BudgetExhausted, BudgetSession, MemoryLedger, Usage
from budget_core.calls.request import CallRequest
from budget_core.session.children import MOST_LISTED

pytestmark = pytest.mark.usefixtures("penny")


def llm(session, *, output, model="penny", agent=None, **usage):
    request = CallRequest(model=model, input_tokens=0, output_cap=1_000, agent=agent)
    session.open_call(request).settle(Usage(output=output, **usage))


def test_an_empty_report_has_every_key():
    report = AgentBudget("$5").session("s").report()
    assert json.loads(json.dumps(report)) == report
    duration = report.pop("duration_seconds")
    assert duration >= 0
    assert report == {
        "session_id": "s",
        "budget": 5.0,
        "total_spent": 0.0,
        "total_spent_nanos": 0,
        "remaining": 5.0,
        "reserved": 0.0,
        "overage": 0.0,
        "breakdown": {
            "llm": {"total": 0.0, "calls": 0, "by_model": {}},
            "tools": {"total": 0.0, "calls": 0, "by_tool": {}},
            "agents": {"by_agent": {}},
            "tokens": {
                "input": 0,
                "cache_read": 0,
                "cache_write": 0,
                "output": 0,
                "reasoning": 0,
            },
        },
        "unpriced_calls": 0,
        "truncated_answers": 0,
        "limits": {},
        "children": [],
        "terminated_by": None,
        "finalized": False,
        "events": [],
    }


def test_a_full_report_adds_up():
    session = AgentBudget("$5", tokens=10_000, tool_calls=9, unknown_model="allow").session("s")
    llm(session, output=100, input=70, cache_read=30, cache_write=20, reasoning=40, agent="ann")
    llm(session, output=200, agent="bob")
    llm(session, output=300, model="nosuch", agent="bob")
    session.track(cost=0.01, tool_name="search")
    session.track(cost=0.02, tool_name="search")
    session.track(tool_name="clock")
    session.open_call(CallRequest(kind="tool", name="buy", cost=5_000_000, agent="ann")).settle()
    report = session.report()
    assert json.loads(json.dumps(report)) == report
    assert report["total_spent"] == 0.038
    assert report["total_spent_nanos"] == 38_000_000
    assert report["remaining"] == 4.962
    assert report["breakdown"] == {
        "llm": {"total": 0.003, "calls": 3, "by_model": {"penny": 0.003, "nosuch": 0.0}},
        "tools": {
            "total": 0.035,
            "calls": 4,
            "by_tool": {"search": 0.03, "clock": 0.0, "buy": 0.005},
        },
        "agents": {"by_agent": {"ann": 0.006, "bob": 0.002}},
        "tokens": {
            "input": 70,
            "cache_read": 30,
            "cache_write": 20,
            "output": 600,
            "reasoning": 40,
        },
    }
    assert report["unpriced_calls"] == 1
    assert report["limits"] == {
        "tokens": {"limit": 10_000, "spent": 670},
        "tool_calls": {"limit": 9, "spent": 4},
    }
    assert [event["type"] for event in report["events"]].count("call") == 7


def test_children_are_rolled_up():
    parent = AgentBudget("$5").session()
    child = parent.child_session("$2", name="child")
    grandchild = child.child_session("$1")
    llm(parent, output=100)
    llm(child, output=200)
    llm(grandchild, output=300)
    grandchild.track(cost=0.01, tool_name="search")
    assert [s.report()["total_spent"] for s in (parent, child, grandchild)] == [0.016, 0.015, 0.013]
    assert [s.report()["breakdown"]["llm"]["calls"] for s in (parent, child, grandchild)] == [
        3, 2, 1,
    ]  # fmt: skip
    assert parent.report()["breakdown"]["tools"]["by_tool"] == {"search": 0.01}
    assert parent.report()["children"] == [
        {"session_id": "child", "budget": 2.0, "total_spent": 0.015}
    ]


def test_an_overage_is_told():
    session = AgentBudget("$1").session()
    session.track(cost=0.9)
    with pytest.raises(BudgetExhausted):
        session.track(cost=0.5)
    report = session.report()
    assert (report["total_spent"], report["overage"], report["remaining"]) == (1.4, 0.4, 0.0)
    assert [event["type"] for event in report["events"]].count("overage") == 1


def test_what_is_held_is_told_apart():
    session = AgentBudget("$1").session()
    call = session.open_call(CallRequest(model="penny", input_tokens=0, output_cap=1_000))
    report = session.report()
    assert (report["total_spent"], report["reserved"], report["remaining"]) == (0, 0.01, 0.99)
    call.release()


def test_without_a_limit_there_is_nothing_remaining_to_tell():
    session = AgentBudget().session()
    session.track(cost=3)
    report = session.report()
    assert (report["budget"], report["remaining"], report["overage"]) == (None, None, 0.0)


def test_events_are_a_bounded_window():
    session = AgentBudget().session()
    for n in range(300):
        session.track(cost=0.01, tool_name=str(n))
    assert [event["name"] for event in session.report()["events"]][::255] == ["44", "299"]


def test_a_report_says_of_an_event_what_the_event_says_and_is_the_reader_s_own():
    session = AgentBudget("$1").session()
    session.track(cost=0.01)
    llm(session, output=10, agent="a")
    with pytest.raises(BudgetExhausted):
        session.open_call(CallRequest(kind="tool", name="t", cost=10**10))
    told = session.report()["events"]
    assert told == [event.as_dict() for event in session.events()]
    assert {event["type"] for event in told} == {"call", "hard_limit", "refused"}
    for event in told:
        event["name"] = "changed"
    told.clear()
    session.track(cost=0.01)
    again = session.report()["events"]
    assert again == [event.as_dict() for event in session.events()]


def test_threads_count_exactly():
    parent = AgentBudget("$5", max_repeated_calls=None).session()
    start = threading.Barrier(8)

    def work(n):
        child = parent.child_session(name=f"c{n}")
        start.wait()
        for turn in range(50):
            child.track(cost="0.001", tool_name=f"t{n}.{turn}")
            parent.report()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    report = parent.report()
    assert report["total_spent_nanos"] == 400_000_000
    assert report["breakdown"]["tools"]["calls"] == len(report["breakdown"]["tools"]["by_tool"])
    assert report["breakdown"]["tools"]["calls"] == 400


class TestChildren:
    def test_those_that_have_ended_and_are_gone_are_told(self):
        with AgentBudget("$10").session("team") as team:
            for name, cost in (("researcher", 1.5), (None, 0.5), ("writer", 0.25)):
                with team.child_session("$2", name=name) as child:
                    child.track(cost=cost, tool_name="search")
                del child
            gc.collect()
            assert team.children() == ()
            told = team.report()["children"]
        assert [(child["budget"], child["total_spent"]) for child in told] == [
            (2.0, 1.5), (2.0, 0.5), (2.0, 0.25),
        ]  # fmt: skip
        assert [told[0]["session_id"], told[2]["session_id"]] == ["researcher", "writer"]

    def test_a_call_that_is_settled_after_its_session_ended_is_told(self):
        team = AgentBudget("$10").session()
        call = team.child_session("$2").open_call(CallRequest(model="penny", output_cap=100))
        gc.collect()
        call.settle(Usage(output=100))
        del call
        gc.collect()
        assert [child["total_spent"] for child in team.report()["children"]] == [0.001]

    @pytest.mark.parametrize("ledger", ["memory", "sqlite"])
    def test_one_that_is_opened_again_is_told_once(self, ledger, tmp_path):
        where = MemoryLedger() if ledger == "memory" else f"sqlite:///{tmp_path}/b.db"
        budget = AgentBudget("$10", ledger=where)
        for run in (1, 2):
            with budget.session("team") as team:
                for n in range(40):
                    with team.child_session("$5", name="researcher") as child:
                        child.track(cost=0.01)
                    assert team.report()["children"] == [
                        {
                            "session_id": "researcher",
                            "budget": pytest.approx(5.0),
                            "total_spent": pytest.approx(0.4 * (run - 1) + 0.01 * (n + 1)),
                        }
                    ]
                del child
                gc.collect()
                assert [c["total_spent"] for c in team.report()["children"]] == [0.4 * run]

    def test_their_number_is_bounded_and_the_rest_is_a_sum(self):
        team = AgentBudget("$10").session()
        kept = team.child_session(name="kept")
        kept.track(cost=0.5)
        for n in range(250):
            with team.child_session(name=f"n{n}" if n % 2 else None) as child:
                child.track(cost=0.001)
                with child.child_session() as grandchild:
                    grandchild.track(cost=0.002)
        team.track(cost=1)
        report = team.report()
        assert len(report["children"]) == MOST_LISTED
        assert "kept" in {child["session_id"] for child in report["children"]}
        listed = sum(child["total_spent"] for child in report["children"])
        rest = report["other_children"]
        assert rest["count"] == 251 - MOST_LISTED
        assert listed + rest["total_spent"] == pytest.approx(0.5 + 250 * 0.003)
        assert report["total_spent"] == pytest.approx(1.5 + 250 * 0.003)

    def test_those_that_are_open_are_all_told_and_the_rest_a_sum_in_the_end(self):
        parent = AgentBudget("$10").session()
        kept = [parent.child_session("$1") for _ in range(3 * MOST_LISTED)]
        told = parent.report()
        assert [child["session_id"] for child in told["children"]] == [child.id for child in kept]
        assert "other_children" not in told
        for child in kept:
            child.track(cost=0.01)
            child.close()
        told = parent.report()
        assert [child["session_id"] for child in told["children"]] == [
            child.id for child in kept[-MOST_LISTED:]
        ]
        assert told["other_children"] == {"count": 2 * MOST_LISTED, "total_spent": 2.0}

    def test_opening_one_asks_few_others_whether_they_have_ended(self, monkeypatch):
        asked, closed = [], BudgetSession.closed
        monkeypatch.setattr(
            BudgetSession, "closed", property(lambda self: asked.append(1) or closed.fget(self))
        )
        parent = AgentBudget("$10").session()
        kept = [parent.child_session("$1") for _ in range(1_000)]
        assert len(asked) < 2 * len(kept)

    def test_what_a_joined_budget_pays_is_no_child_s(self):
        other, team = AgentBudget("$5", parent=None).session(), AgentBudget("$5").session()
        team.child_session().track(cost=0.25)
        request = CallRequest(model="penny", output_cap=100)
        other.open_call(request, joining=[team]).settle(Usage(output=100))
        assert team.totals.below == 250_000_000
        assert team.report()["total_spent"] == 0.251

    def test_a_label_is_told_beside_the_id(self):
        team = AgentBudget("$5").session()
        told = [team.child_session(label="ann"), team.child_session(label="ann")]
        names = [(c["session_id"], c["name"]) for c in team.report()["children"]]
        assert names == [(child.id, "ann") for child in told]

    def test_many_threads_open_and_end_them(self):
        team = AgentBudget("$10").session()

        def work(n):
            with team.child_session(label=f"a{n % 7}") as child:
                child.track(cost=0.001)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(400)))
        report = team.report()
        listed = sum(child["total_spent"] for child in report["children"])
        assert listed + report["other_children"]["total_spent"] == pytest.approx(0.4)


def test_limits_per_period_are_told():
    session = AgentBudget(["$5", "$1/day", "100 calls/hour"]).session("s")
    session.track(cost=0.25)
    call = session.open_call(CallRequest(kind="tool", name="buy", cost=500_000_000))
    told = session.report()["windows"]
    assert json.loads(json.dumps(told)) == told
    assert told == [
        {"limit": "$1.00/day", "unit": "usd", "amount": 1.0, "spent": 0.25, "reserved": 0.5},
        {
            "limit": "100 LLM calls/hour",
            "unit": "llm_calls",
            "amount": 100,
            "spent": 0,
            "reserved": 0,
        },
    ]
    call.release()
