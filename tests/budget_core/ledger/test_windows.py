"""Limits per period, on every ledger. The clock is the backend's, set to a moment."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from tests.budget_core.ledger.clocks import shift

from budget_core import AgentBudget, BudgetExhausted, CallRequest
from budget_core.ledger import Account, Denial, Hold, new_id
from budget_core.ledger.clock import SYSTEM
from budget_core.money.amounts import ZERO, Amounts
from budget_core.money.limits import Limit, Limits

DAY = 86_400


def usd(amount, **others):
    return Amounts(usd=amount, **others)


def set_clock(ledger, moment, zone="UTC"):
    """Let it be `moment`: the ledgers' clocks only go forward, so each test has later ones."""
    at = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo(zone))
    shift(ledger, at.timestamp() - (ledger.clock or SYSTEM).now())


def limit(amount, period, unit="usd", **options):
    return Limit(unit, amount, period, **options)


def opened(ledger, name, *limits, parent=None, **options):
    ledger.open(Account(name, parent, Limits(limits), **options))
    return name


def held(ledger, amount, *accounts, **options):
    answer = ledger.reserve(new_id(), accounts, usd(amount), **options)
    assert isinstance(answer, Hold), answer
    return answer.id


def refused(ledger, amount, *accounts):
    answer = ledger.reserve(new_id(), accounts, usd(amount))
    assert isinstance(answer, Denial), answer
    return answer


def used(ledger, account="a", at=0):
    window = ledger.balance(account).windows[at]
    return window.spent, window.reserved


@pytest.fixture(autouse=True)
def _agrees(ledger):
    yield
    assert ledger.verify() == []


class TestCalendar:
    @pytest.mark.parametrize(
        ("period", "before", "after", "seconds"),
        [
            ("second", "2031-03-05T12:00:00.2", "2031-03-05T12:00:01.2", 0.8),
            ("minute", "2031-03-05T12:00:30", "2031-03-05T12:01:01", 30),
            ("hour", "2031-03-05T12:30", "2031-03-05T13:01", 1_800),
            ("day", "2031-03-05T18:00", "2031-03-06T00:01", 21_600),
            ("month", "2031-02-28T12:00", "2031-03-01T00:01", 43_200),
            ("month", "2031-12-31T12:00", "2032-01-01T00:01", 43_200),
        ],
    )
    def test_each_window_has_all_of_it(self, ledger, period, before, after, seconds):
        set_clock(ledger, before)
        opened(ledger, "a", limit(5, period))
        ledger.commit(held(ledger, 3, "a"), usd(3), ["a"])
        held(ledger, 2, "a")
        denial = refused(ledger, 1, "a")
        assert denial[:6] == ("a", "usd", 5, 3, 2, 1)
        assert denial.period == period
        assert denial.retry_after == pytest.approx(seconds, abs=0.7)
        set_clock(ledger, after)
        assert used(ledger) == (0, 0)
        held(ledger, 5, "a")
        assert ledger.balance("a").spent == usd(3)

    @pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata"])
    def test_days_and_months_begin_where_people_live(self, ledger, zone):
        set_clock(ledger, "2031-03-31T23:00", zone)
        opened(ledger, "a", limit(5, "day", zone=zone), limit(9, "month", zone=zone))
        ledger.charge(new_id(), ["a"], usd(5))
        denial = refused(ledger, 1, "a")
        assert (denial.period, denial.retry_after) == (
            f"day in {zone}", pytest.approx(3_600, abs=30)
        )  # fmt: skip
        set_clock(ledger, "2031-04-01T00:01", zone)
        assert (used(ledger), used(ledger, at=1)) == ((0, 0), (0, 0))

    @pytest.mark.parametrize(
        ("day", "hours"), [("2031-03-30", 23), ("2031-10-26", 25), ("2031-05-05", 24)]
    )
    def test_days_are_as_long_as_the_clocks_there_make_them(self, ledger, day, hours):
        set_clock(ledger, f"{day}T00:00:30", "Europe/Berlin")
        opened(ledger, "a", limit(5, "day", zone="Europe/Berlin"))
        ledger.charge(new_id(), ["a"], usd(5))
        assert refused(ledger, 1, "a").retry_after == pytest.approx(hours * 3_600 - 30, abs=5)

    def test_a_day_without_a_midnight_begins_when_the_clocks_have_jumped(self, ledger):
        set_clock(ledger, "2031-03-08T23:00", "America/Havana")
        opened(ledger, "a", limit(5, "day", zone="America/Havana"))
        ledger.charge(new_id(), ["a"], usd(5))
        assert refused(ledger, 1, "a").retry_after == pytest.approx(3_600, abs=5)

    def test_what_never_fits_is_not_worth_waiting_for(self, ledger):
        opened(ledger, "a", limit(5, "day"))
        assert refused(ledger, 6, "a").retry_after is None

    def test_a_hold_is_charged_to_the_window_in_which_it_was_made(self, ledger):
        set_clock(ledger, "2031-03-05T23:59")
        opened(ledger, "a", limit(5, "day"))
        hold = held(ledger, 5, "a")
        set_clock(ledger, "2031-03-06T00:01")
        held(ledger, 4, "a")
        ledger.commit(hold, usd(5), ["a"])
        assert used(ledger) == (0, 4)
        assert ledger.balance("a").spent == usd(5)

    def test_a_hold_that_grows_later_counts_in_the_later_window(self, ledger):
        set_clock(ledger, "2031-03-05T23:59")
        opened(ledger, "a", limit(5, "day"))
        hold = held(ledger, 3, "a")
        set_clock(ledger, "2031-03-06T00:01")
        assert isinstance(ledger.extend(hold, usd(2)), Hold)
        assert used(ledger) == (0, 0)
        other = held(ledger, 2, "a")
        assert ledger.extend(hold, usd(4)).period == "day"
        ledger.release(other)
        assert isinstance(ledger.extend(hold, usd(4)), Hold)
        assert used(ledger) == (0, 4)
        ledger.commit(hold, usd(4), ["a"])
        assert used(ledger) == (4, 0)

    def test_time_never_runs_backwards(self, ledger):
        set_clock(ledger, "2031-03-06T00:30")
        opened(ledger, "a", limit(5, "day"))
        ledger.charge(new_id(), ["a"], usd(5))
        shift(ledger, -3_600)
        assert isinstance(ledger.reserve(new_id(), ["a"], usd(1)), Denial)

    @pytest.mark.parametrize(
        "a_limit",
        [
            limit(5, "day"), limit(5, "month", zone="Asia/Tokyo"), limit(5, "hour", rolling=True),
        ],
        ids=str,
    )  # fmt: skip
    def test_what_is_spent_after_a_clock_was_set_back_counts(self, ledger, a_limit):
        set_clock(ledger, "2031-03-05T12:30")
        opened(ledger, "a", a_limit)
        for _ in range(2):
            shift(ledger, -40 * DAY)
            ledger.commit(held(ledger, 1, "a"), usd(1), ["a"])
            hold = held(ledger, 1, "a")
            assert isinstance(ledger.extend(hold, usd(2)), Hold)
            ledger.release(hold)
            ledger.charge(new_id(), ["a"], usd(1))
        assert used(ledger) == (4, 0)
        assert isinstance(ledger.reserve(new_id(), ["a"], usd(2)), Denial)

    def test_more_than_the_limit_refuses_even_what_costs_nothing(self, ledger):
        set_clock(ledger, "2031-03-05T12:00")
        opened(ledger, "a", limit(5, "day"))
        entry = ledger.charge(new_id(), ["a"], usd(7))
        assert (entry.over.account, entry.over.period, entry.over.limit) == ("a", "day", 5)
        assert refused(ledger, 0, "a").spent == 7
        set_clock(ledger, "2031-03-06T12:00")
        held(ledger, 0, "a")


class TestRolling:
    def test_no_stretch_of_that_length_holds_more(self, ledger):
        opened(ledger, "a", limit(5, "hour", rolling=True))
        for minute in range(0, 300, 7):
            set_clock(ledger, f"2031-03-05T{minute // 60:02}:{minute % 60:02}")
            while isinstance(hold := ledger.reserve(new_id(), ["a"], usd(1)), Hold):
                ledger.commit(hold.id, usd(1), ["a"])
        times = [entry.time for entry in ledger.entries()]
        assert len(times) > 15
        for time_ in times:
            assert sum(time_ <= other < time_ + 3_600 for other in times) <= 5

    def test_frees_what_is_an_hour_old(self, ledger):
        set_clock(ledger, "2031-03-05T12:00:30")
        opened(ledger, "a", limit(5, "hour", rolling=True))
        ledger.charge(new_id(), ["a"], usd(3))
        set_clock(ledger, "2031-03-05T12:20:30")
        ledger.charge(new_id(), ["a"], usd(2))
        denial = refused(ledger, 4, "a")
        assert denial.period == "rolling hour"
        assert denial.retry_after == pytest.approx(3_600 + 30, abs=5)
        assert refused(ledger, 3, "a").retry_after == pytest.approx(2_400 + 30, abs=5)
        set_clock(ledger, "2031-03-05T13:01:01")
        held(ledger, 3, "a")
        assert isinstance(ledger.reserve(new_id(), ["a"], usd(1)), Denial)


class TestSeveral:
    def test_each_limits(self, ledger):
        set_clock(ledger, "2031-03-05T12:00:30")
        opened(
            ledger, "a", Limit("usd", 20), limit(10, "day"), limit(4, "minute"),
            limit(2, "hour", "llm_calls"),
        )  # fmt: skip
        assert ledger.headroom(["a"]) == (4, None, 2, None)
        ledger.charge(new_id(), ["a"], usd(4, llm_calls=1))
        assert refused(ledger, 1, "a").period == "minute"
        set_clock(ledger, "2031-03-05T12:01:30")
        ledger.charge(new_id(), ["a"], usd(4, llm_calls=1))
        set_clock(ledger, "2031-03-05T12:02:30")
        assert ledger.headroom(["a"]) == (2, None, 0, None)
        assert refused(ledger, 3, "a").period == "day"
        denial = ledger.reserve(new_id(), ["a"], usd(1, llm_calls=1))
        assert (denial.unit, denial.period) == ("llm_calls", "hour")
        ledger.charge(new_id(), ["a"], usd(12))
        set_clock(ledger, "2031-03-06T12:00")
        assert refused(ledger, 1, "a").period is None

    def test_windows_above_limit_what_is_below_also_in_an_allocation(self, ledger):
        set_clock(ledger, "2031-03-05T12:00")
        opened(ledger, "root", Limit("usd", 20), limit(3, "day"))
        opened(ledger, "a", Limit("usd", 10), parent="root", allocated=True)
        denial = refused(ledger, 4, "a")
        assert (denial.account, denial.period) == ("root", "day")
        hold = held(ledger, 3, "a")
        assert used(ledger, "root") == (0, 3)
        ledger.commit(hold, usd(2), ["a"])
        assert used(ledger, "root") == (2, 0)

    def test_a_release_gives_back(self, ledger):
        opened(ledger, "a", limit(3, "month"))
        ledger.release(held(ledger, 3, "a"))
        assert used(ledger) == (0, 0)

    def test_an_update_keeps_what_was_spent_in_windows_that_stay(self, ledger):
        set_clock(ledger, "2031-03-05T12:00")
        opened(ledger, "a", limit(5, "day"), limit(9, "hour"))
        hold = held(ledger, 1, "a")
        ledger.charge(new_id(), ["a"], usd(4))
        new = Account("a", None, Limits((limit(6, "day"), limit(7, "month"))))
        ledger.open(new, update=True)
        assert (used(ledger), used(ledger, at=1)) == ((4, 1), (0, 0))
        ledger.commit(hold, usd(1), ["a"])
        assert refused(ledger, 2, "a").limit == 6

    def test_a_top_up_leaves_windows_alone(self, ledger):
        opened(ledger, "a", Limit("usd", 5), limit(3, "day"))
        assert ledger.top_up("a", usd(5)).limits == Limits((Limit("usd", 10), limit(3, "day")))

    def test_a_finalization_reserve_is_no_part_of_a_window(self, ledger):
        opened(ledger, "a", Limit("usd", 5), limit(3, "day"), reserve=usd(2))
        held(ledger, 3, "a", final="a")
        assert isinstance(ledger.reserve(new_id(), ["a"], ZERO), Hold)


class TestSessions:
    def test_a_budget_may_be_written_with_windows(self, ledger):
        set_clock(ledger, "2031-03-05T12:00")
        session = AgentBudget(["$1", "$0.50/day", "3 calls/day"], ledger=ledger).session()
        request = CallRequest(model="gpt-4o", input_tokens=100, output_cap=100)
        for _ in range(3):
            session.open_call(request).settle(None)
        with pytest.raises(
            BudgetExhausted, match=r"of 3 LLM calls/day .*Try again in 43,\d\d\d"
        ) as e:
            session.open_call(request, wait=0)
        assert e.value.retry_after == pytest.approx(43_200, abs=30)
        assert (e.value.unit, e.value.limit) == ("llm_calls", 3)

    def test_a_call_waits_for_a_window_that_begins_soon(self, ledger):
        set_clock(ledger, "2031-03-05T12:00:59.5")
        session = AgentBudget("1 call/min", ledger=ledger).session()
        request = CallRequest(model="gpt-4o", input_tokens=100, output_cap=100)
        session.open_call(request, wait=0).settle(None)
        with pytest.raises(BudgetExhausted):
            session.open_call(request, wait=0.001)
        session.open_call(request, wait=20).settle(None)
        assert session.balance().spent.llm_calls == 2
