"""The short way of the ledger in memory does what the whole way does, for any sequence."""

from hypothesis import given
from hypothesis import strategies as st

from budget_core.errors import AgentBudgetError
from budget_core.ledger import Account, MemoryLedger
from budget_core.ledger.books import BookLedger
from budget_core.money.amounts import Amounts
from budget_core.money.limits import Limit, Limits

NAMES = ("root", "child", "leaf", "day", "apart")
ACCOUNTS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True).map(tuple)
AMOUNTS = st.builds(Amounts, st.integers(0, 60), st.integers(0, 60), st.integers(0, 2), st.just(0))
IDS = st.sampled_from("abcdef")


class WholeWay(MemoryLedger):
    reserve, commit, charge = BookLedger.reserve, BookLedger.commit, BookLedger.charge


class Clock:
    def now(self):
        return 1_700_000_000.0

    def uptime(self):
        return 1.0


def _opened(kind, limits, reserve, allocated):
    ledger = kind(clock=Clock(), keep_entries=5)
    usd, tokens = limits
    ledger.open(Account("root", None, Limits.of(Limit("usd", 300), tokens=400)))
    ledger.open(Account("child", "root", Limits((Limit("usd", usd),)), Amounts(reserve)))
    ledger.open(Account("leaf", "child", Limits.of(tokens=tokens, llm_calls=9)))
    ledger.open(Account("day", "root", Limits((Limit("usd", 90, "day"),))))
    ledger.open(Account("apart", "root", Limits((Limit("usd", 80),)), allocated=allocated))
    return ledger


OPERATIONS = st.one_of(
    st.tuples(st.just("reserve"), IDS, ACCOUNTS, AMOUNTS),
    st.tuples(st.just("commit"), IDS, AMOUNTS, ACCOUNTS),
    st.tuples(st.just("charge"), st.sampled_from("ghijk"), ACCOUNTS, AMOUNTS),
    st.tuples(st.just("release"), IDS),
    st.tuples(st.just("extend"), IDS, AMOUNTS),
    st.tuples(st.just("top_up"), st.sampled_from(NAMES), AMOUNTS),
    st.tuples(st.just("close"), st.sampled_from(NAMES), st.sampled_from(["closed", "cancelled"])),
    st.tuples(st.just("keep_back"), st.sampled_from(NAMES), AMOUNTS),
)


def _done(ledger, operation, *args):
    try:
        return getattr(ledger, operation)(*args)
    except (AgentBudgetError, KeyError) as error:
        return type(error), str(error)


@given(
    st.tuples(st.integers(0, 200), st.integers(1, 300)),
    st.integers(0, 30),
    st.booleans(),
    st.lists(OPERATIONS, max_size=30),
)
def test_both_ways_do_the_same(limits, reserve, allocated, operations):
    short = _opened(MemoryLedger, limits, reserve, allocated)
    whole = _opened(WholeWay, limits, reserve, allocated)
    for operation in operations:
        assert _done(short, *operation) == _done(whole, *operation)
        assert short.accounts() == whole.accounts()
    assert short.holds() == whole.holds()
    assert list(short.entries()) == list(whole.entries())
    assert short.verify() == whole.verify() == []
