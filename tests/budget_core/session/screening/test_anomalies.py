"""Anomalies: what a session does for the first time, by its own measure, and only that."""

import random

import pytest

from budget_core import AgentBudget, AnomalyDetected, CallRequest, Usage
from budget_core.session.screening.anomalies import Anomalies


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def session(penny):
    """A session that is looked at, in which a thousand tokens of output cost a cent."""
    return AgentBudget("$1000", on_anomaly="tag", max_repeated_calls=None).session("s")


@pytest.fixture
def watched(session, clock):
    session._admission.screening._anomalies = Anomalies(clock)
    return session


def ask(session, tokens=100, output=100, agent=None, fails=False):
    request = CallRequest(model="penny", input_tokens=tokens, output_cap=output, agent=agent)
    call = session.open_call(request)
    if fails:
        call.release()
    else:
        call.settle(Usage(tokens, output))


def use(session, *arguments):
    session.open_call(CallRequest(kind="tool", name="search", fingerprint=arguments)).settle(None)


def told(session):
    return [event.data["what"] for event in session.events() if event.kind == "anomaly"]


class TestVelocity:
    def minutes(self, session, clock, *calls):
        for n in calls:
            clock.now += 60
            for _ in range(n):
                ask(session)

    def test_a_minute_that_costs_many_times_the_usual(self, watched, clock):
        self.minutes(watched, clock, 5, 6, 4, 5, 5, 5)
        assert told(watched) == []
        self.minutes(watched, clock, 40)
        (event,) = [event for event in watched.events() if event.kind == "anomaly"]
        assert event.data == {
            "what": "spend_velocity", "value": pytest.approx(0.021), "usual": pytest.approx(0.005),
            "refused": False,
        }  # fmt: skip

    def test_one_that_bursts_now_and_then_is_left_alone(self, watched, clock):
        self.minutes(watched, clock, *[2, 2, 2, 20] * 6)
        assert told(watched) == []

    def test_it_is_told_again_once_it_was_back(self, watched, clock):
        self.minutes(watched, clock, 5, 5, 5, 5, 5, 5, 40, 5, 40)
        assert told(watched) == ["spend_velocity"] * 2

    def test_what_lasts_becomes_usual(self, watched, clock):
        self.minutes(watched, clock, *[5] * 8, *[40] * 30)
        before = len(told(watched))
        self.minutes(watched, clock, *[40] * 10)
        assert len(told(watched)) == before < 10

    def test_idle_minutes_do_not_count(self, watched, clock):
        self.minutes(watched, clock, *[5, 0, 0, 0] * 8)
        clock.now += 3600
        self.minutes(watched, clock, 6)
        assert told(watched) == []


class TestContext:
    def test_a_context_that_suddenly_grows(self, watched):
        for n in range(12):
            ask(watched, 1_000 + 400 * n)
        ask(watched, 60_000)
        assert told(watched) == []
        ask(watched, 60_500)
        assert told(watched) == ["context_growth"]

    def test_one_large_prompt_is_none(self, watched):
        for _ in range(3):  # map, then reduce
            for n in range(20):
                ask(watched, 2_000 + 700 * (n % 3))
            ask(watched, 60_000)
        assert told(watched) == []

    def test_agents_that_take_turns_have_contexts_of_their_own(self, watched):
        for n in range(20):
            ask(watched, 1_000 + 300 * n, agent="small")
            ask(watched, 50_000 + 300 * n, agent="large")
        assert told(watched) == []

    def test_a_context_that_was_cut_may_grow_again(self, watched):
        for n in range(40):
            ask(watched, 2_000 + 900 * (n % 10))
        assert told(watched) == []


class TestRetries:
    def test_failures_that_pile_up(self, watched):
        for n in range(50):
            ask(watched, fails=n % 20 == 0)
        for _ in range(12):
            ask(watched, fails=True)
        assert told(watched) == ["retry_amplification"]

    def test_a_provider_that_always_fails_now_and_then_is_usual(self, watched):
        for n in range(200):
            ask(watched, fails=n % 3 == 0)
        assert told(watched) == []

    def test_one_that_is_down_from_the_beginning_is_no_change(self, watched):
        for _ in range(30):
            ask(watched, fails=True)
        assert told(watched) == []


class TestTools:
    def test_the_same_few_calls_again_and_again(self, watched):
        for n in range(45):
            use(watched, "query", n)
        for n in range(20):
            use(watched, "query", f"page {n % 3}")
        assert told(watched) == ["tool_repetition"]

    def test_one_that_always_polls_is_usual(self, watched):
        for n in range(100):
            use(watched, "status", {"job": n // 10})
        assert told(watched) == []

    def test_what_is_only_tracked_has_no_arguments_to_compare(self, watched):
        for _ in range(100):
            watched.track(cost=0.001, tool_name="search")
        assert told(watched) == []


@pytest.mark.parametrize("seed", range(8))
def test_quiet_on_an_honest_trace(watched, clock, seed):
    """An agent that thinks, searches, reads documents of all sizes, and now and then fails."""
    chance, context = random.Random(seed), 1_500
    for turn in range(250):
        clock.now += chance.expovariate(1 / 8)
        ask(watched, context, chance.randrange(50, 1_500), fails=chance.random() < 0.05)
        context += chance.randrange(100, 3_000)
        use(watched, "search", turn if chance.random() < 0.8 else turn // 5)
        if context > 100_000:
            context = 2_000  # it was summarized
    assert told(watched) == []


class TestRefusing:
    @pytest.fixture
    def stopped(self, penny):
        session = AgentBudget("$1000", on_anomaly="refuse").session("s")
        for n in range(10):
            ask(session, 1_000 + 100 * n)
        ask(session, 50_000)
        ask(session, 50_000)
        return session

    def test_the_next_call_is_refused_until_somebody_accepts(self, stopped):
        with pytest.raises(
            AnomalyDetected, match="its context growth is 48,100, and was"
        ) as raised:
            ask(stopped)
        assert (raised.value.what, raised.value.session_id) == ("context_growth", "s")
        with pytest.raises(AnomalyDetected):
            use(stopped, 1)
        assert stopped.terminated_by == "anomaly"
        stopped.accept_anomaly()
        ask(stopped)
        assert stopped.terminated_by is None

    def test_what_led_to_it_is_paid_for(self, stopped):
        assert stopped.spent_nanos == 12 * 1_000_000
        assert stopped.reserved == 0

    def test_nobody_looks_unless_asked(self, penny):
        session = AgentBudget("$1000").session()
        for n in range(10):
            ask(session, 1_000 + 100 * n)
        ask(session, 50_000)
        assert told(session) == []
        session.accept_anomaly()
