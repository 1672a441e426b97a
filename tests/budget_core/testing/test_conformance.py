"""The conformance suite passes an adapter that is right, and fails each that is not."""

import pytest

from budget_core.testing.conformance import AdapterConformance

from . import adapters

pytest_plugins = ["pytester"]
BROKEN = {
    "Leaking": "an_error_of_the_provider_leaves_nothing_held",
    "DeafToCancelling": "a_run_that_is_cancelled_leaves_nothing_held",
    "DeafToBreaks": "a_stream_that_is_broken_off_leaves_nothing_held",
    "LeakingTools": "an_error_in_a_tool_leaves_nothing_held",
    "CountingTwice": "the_bill_is_what_was_spent",
    "Unfinished": "the_bill_is_what_was_spent",
    "Believing": "silence_is_not_free",
    "Underholding": "the_call_that_money_does_not_buy_is_not_sent",
    "Hasty": "agents_at_once_share_one_limit",
    "SharingTheRoot": "a_child_session_spends_its_parents_money",
    "WithoutNames": "an_agent_is_stopped_at_its_own_limit",
    "WithoutTools": "tools_are_counted_and_paid_for",
    "GoingOn": "an_answer_that_the_money_cuts_is_none",
    "WithoutLastWord": "the_last_word_is_paid_from_the_reserve",
}
"""What each adapter that is wrong does not keep."""


@pytest.fixture
def attempt(pytester, monkeypatch, provider):  # what a provider imports stays for those inside
    """Try an adapter on the whole suite or one test of it; return what passed and failed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def tried(agent, test="test"):
        pytester.makepyfile(
            test_it=f"from {adapters.__name__} import Conformance, {agent}\n"
            f"class TestIt(Conformance):\n    agent = {agent}\n"
        )
        result = pytester.inline_run("-q", "--tb=no", "-p", "no:cacheprovider", "-k", test)
        passed, skipped, failed = result.listoutcomes()
        assert not skipped
        return len(passed), len(failed)

    return tried


def test_a_right_one_passes(attempt):
    passed, failed = attempt("Agent")
    assert passed > len(BROKEN)
    assert not failed


@pytest.mark.parametrize("agent", BROKEN)
def test_a_wrong_one_fails(attempt, agent):
    passed, failed = attempt(agent, f"test_{BROKEN[agent]}")
    assert failed
    assert not passed


def test_every_promise_is_broken_by_one(attempt):
    promises = {name for name in vars(AdapterConformance) if name.startswith("test_")}
    assert promises == {f"test_{broken}" for broken in BROKEN.values()}


@pytest.mark.parametrize("lacks", [{"wings": "it walks"}, {"stream": ""}])
def test_what_is_lacking_is_known_and_has_a_reason(lacks):
    with pytest.raises(TypeError, match=r"names some of run, arun, .*tools, and says why of each"):
        type("Mine", (AdapterConformance,), {"lacks": lacks})


def test_a_way_is_implemented_or_lacking():
    lacks = dict.fromkeys(["stream", "astream"], "it speaks in whole sentences")
    body = {"lacks": lacks, "run": lambda _self, _job: ""}
    with pytest.raises(TypeError, match=r"either implements arun\(\) or says"):
        type("Mine", (AdapterConformance,), body)
    with pytest.raises(TypeError, match=r"either implements run\(\) or says"):
        type("Mine", (AdapterConformance,), {**body, "lacks": {**lacks, "run": "no"}})


def test_a_base_may_be_incomplete():
    class Base(AdapterConformance, abstract=True):
        pass

    assert Base.test_the_bill_is_what_was_spent
