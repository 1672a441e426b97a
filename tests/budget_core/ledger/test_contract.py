"""What every ledger promises, through the contract only."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from budget_core.errors import AccountConflict, HoldConflict, InvalidBudget
from budget_core.ledger import Account, Balance, Denial, Entry, Hold, new_id
from budget_core.money.amounts import ZERO, Amounts
from budget_core.money.limits import Limit, Limits

FIVE = Limits((Limit("usd", 5),))


def usd(amount, **others):
    return Amounts(usd=amount, **others)


def limited(amount):
    return Limits((Limit("usd", amount),))


def opened(ledger, name, limit=None, parent=None, **options):
    limits = Limits() if limit is None else limited(limit)
    answer = ledger.open(Account(name, parent, limits, **options))
    assert isinstance(answer, Balance)
    return name


def held(ledger, amount, *accounts, **options):
    answer = ledger.reserve(new_id(), accounts, usd(amount), **options)
    assert isinstance(answer, Hold), answer
    return answer.id


def refused(ledger, amount, *accounts, **options):
    answer = ledger.reserve(new_id(), accounts, usd(amount), **options)
    assert isinstance(answer, Denial), answer
    return answer


def money(ledger, *accounts):
    return [(ledger.balance(a).spent.usd, ledger.balance(a).reserved.usd) for a in accounts]


@pytest.fixture
def tree(ledger):
    """A root of 10 with a middle of 8 and a leaf of 6, and a sibling of the middle."""
    opened(ledger, "root", 10)
    opened(ledger, "middle", 8, "root")
    opened(ledger, "leaf", 6, "middle")
    opened(ledger, "sibling", 8, "root")
    yield ledger
    assert ledger.verify() == []


class TestOpen:
    def test_answers_with_the_balance(self, ledger):
        balance = ledger.open(Account("a", None, FIVE))
        assert balance == Balance("a", FIVE, ZERO, ZERO, ZERO)
        assert balance.remaining() == 5
        assert balance.remaining("tokens") is None
        assert balance.overage("tokens") == 0

    def test_again_goes_on_with_what_was_spent(self, ledger):
        opened(ledger, "a", 5)
        ledger.charge(new_id(), ["a"], usd(2))
        assert ledger.open(Account("a", None, FIVE)).spent == usd(2)

    def test_a_closed_account_is_opened_again(self, ledger):
        opened(ledger, "a", 5)
        ledger.commit(held(ledger, 2, "a"), usd(2), ["a"])
        ledger.close("a")
        assert refused(ledger, 1, "a").state == "closed"
        assert ledger.open(Account("a", None, FIVE)).state == "open"
        held(ledger, 3, "a")
        assert refused(ledger, 1, "a").state == "open"

    @pytest.mark.parametrize(
        "other",
        [
            Account("a", "root", limited(4)),
            Account("a", None, limited(5)),
            Account("a", "root", limited(5), reserve=usd(1)),
            Account("a", "root", limited(5), allocated=True),
        ],
    )
    def test_another_payload_under_a_known_name_is_a_conflict(self, ledger, other):
        opened(ledger, "root", 10)
        opened(ledger, "a", 5, "root")
        with pytest.raises(AccountConflict, match="'a' was opened with"):
            ledger.open(other)
        assert ledger.balance("a").limits == limited(5)

    def test_an_unknown_parent_is_a_key_error(self, ledger):
        with pytest.raises(KeyError):
            ledger.open(Account("a", "nobody", FIVE))

    def test_topped_up_limits_are_no_conflict(self, ledger):
        opened(ledger, "a", 5)
        ledger.top_up("a", usd(3))
        assert ledger.open(Account("a", None, FIVE)).limits == limited(8)


class TestReserve:
    def test_holds_in_every_ancestor(self, tree):
        held(tree, 3, "leaf")
        assert money(tree, "leaf", "middle", "root", "sibling") == [(0, 3), (0, 3), (0, 3), (0, 0)]

    def test_up_to_the_limit_exactly(self, tree):
        held(tree, 6, "leaf")
        assert refused(tree, 1, "leaf").remaining == 0

    def test_a_denial_names_the_blocking_account_with_its_figures(self, tree):
        held(tree, 7, "sibling")
        tree.commit(held(tree, 2, "leaf"), usd(1), ["leaf"])
        denial = refused(tree, 3, "leaf")
        assert denial == Denial("root", "usd", 10, spent=1, reserved=7, requested=3)
        assert denial.remaining == 2

    def test_the_nearest_of_several_blocking_accounts_is_named(self, tree):
        assert refused(tree, 11, "leaf").account == "leaf"

    def test_a_denial_changes_nothing(self, tree):
        held(tree, 7, "sibling")
        before = money(tree, "leaf", "middle", "root", "sibling")
        refused(tree, 4, "leaf")
        assert money(tree, "leaf", "middle", "root", "sibling") == before

    def test_a_denied_id_may_be_tried_again(self, tree):
        other = held(tree, 8, "sibling")
        name = new_id()
        assert isinstance(tree.reserve(name, ["leaf"], usd(3)), Denial)
        tree.release(other)
        assert isinstance(tree.reserve(name, ["leaf"], usd(3)), Hold)

    def test_over_several_accounts_a_shared_ancestor_holds_once(self, tree):
        held(tree, 2, "leaf", "sibling")
        assert money(tree, "leaf", "middle", "sibling", "root") == [(0, 2)] * 4

    def test_over_an_account_and_its_own_ancestor_holds_once(self, tree):
        held(tree, 2, "leaf", "root", "leaf")
        assert money(tree, "leaf", "middle", "root") == [(0, 2)] * 3

    def test_over_several_accounts_is_all_or_nothing(self, tree):
        held(tree, 8, "sibling")
        assert refused(tree, 1, "leaf", "sibling").account == "sibling"
        assert money(tree, "leaf", "middle") == [(0, 0)] * 2

    @pytest.mark.parametrize("unit", ["tokens", "llm_calls", "tool_calls"])
    def test_every_unit_is_limited(self, ledger, unit):
        ledger.open(Account("a", None, Limits((Limit(unit, 2),))))
        assert isinstance(ledger.reserve(new_id(), ["a"], Amounts(**{unit: 2})), Hold)
        denial = ledger.reserve(new_id(), ["a"], Amounts(**{unit: 1}))
        assert (denial.unit, denial.limit, denial.reserved, denial.requested) == (unit, 2, 2, 1)

    def test_what_costs_nothing_passes_at_the_limit(self, ledger):
        opened(ledger, "a", 1)
        held(ledger, 1, "a")
        assert isinstance(ledger.reserve(new_id(), ["a"], Amounts(tool_calls=1)), Hold)

    def test_an_unlimited_account_never_refuses(self, ledger):
        opened(ledger, "a")
        held(ledger, 10**15, "a")

    def test_the_same_hold_again_is_the_stored_answer(self, tree):
        name = new_id()
        first = tree.reserve(name, ["leaf"], usd(6))
        assert tree.reserve(name, ["leaf"], usd(6)) == first
        assert money(tree, "root") == [(0, 6)]

    @pytest.mark.parametrize(
        ("accounts", "amount"), [(["leaf"], 2), (["middle"], 1), (["leaf", "sibling"], 1)]
    )
    def test_the_same_hold_with_another_payload_is_a_conflict(self, tree, accounts, amount):
        name = new_id()
        tree.reserve(name, ["leaf"], usd(1))
        with pytest.raises(HoldConflict):
            tree.reserve(name, accounts, usd(amount))
        assert money(tree, "root") == [(0, 1)]

    def test_the_same_hold_with_another_last_word_is_a_conflict(self, tree):
        name = new_id()
        tree.reserve(name, ["leaf"], usd(1))
        with pytest.raises(HoldConflict):
            tree.reserve(name, ["leaf"], usd(1), final="leaf")

    def test_an_ended_hold_cannot_be_held_again(self, tree):
        name = held(tree, 1, "leaf")
        tree.release(name)
        with pytest.raises(HoldConflict):
            tree.reserve(name, ["leaf"], usd(1))

    @pytest.mark.parametrize("state", ["closed", "cancelled", "finalized"])
    def test_an_ended_ancestor_refuses(self, tree, state):
        tree.close("middle", state)
        denial = refused(tree, 1, "leaf")
        assert (denial.account, denial.state) == ("middle", state)
        held(tree, 1, "sibling")


class TestCommit:
    @pytest.mark.parametrize("cost", [0, 2, 3])
    def test_spends_everywhere_and_frees_the_rest(self, tree, cost):
        entry = tree.commit(held(tree, 3, "leaf"), usd(cost), ["leaf"])
        assert money(tree, "leaf", "middle", "root") == [(cost, 0)] * 3
        assert entry.path == ("leaf", "middle", "root")
        assert entry.after == (usd(cost),) * 3
        assert (entry.held, entry.amounts) == (usd(3), usd(cost))
        assert (entry.over, entry.late) == (None, False)

    def test_more_than_was_held_is_recorded_and_then_nothing_is_reserved(self, ledger):
        opened(ledger, "root", 10)
        opened(ledger, "a", 5, "root")
        entry = ledger.commit(held(ledger, 1, "a"), usd(7), ["a"])
        assert entry.over == Denial("a", "usd", 5, spent=7, reserved=0, requested=7)
        assert ledger.balance("a").overage() == 2
        assert ledger.balance("a").remaining() == 0
        assert refused(ledger, 0, "a").account == "a"
        held(ledger, 3, "root")
        assert ledger.verify() == []

    def test_more_than_was_held_beside_other_holds_is_no_fault(self, ledger):
        opened(ledger, "a", 5)
        other = held(ledger, 4, "a")
        ledger.commit(held(ledger, 1, "a"), usd(3), ["a"])
        assert money(ledger, "a") == [(3, 4)]
        assert ledger.verify() == []
        ledger.commit(other, usd(4), ["a"])
        assert ledger.balance("a").overage() == 2

    def test_an_overage_of_one_unit_refuses_calls_that_want_none_of_it(self, ledger):
        ledger.open(Account("a", None, Limits((Limit("usd", 5), Limit("tokens", 5)))))
        ledger.charge(new_id(), ["a"], Amounts(tokens=6))
        assert refused(ledger, 1, "a").unit == "tokens"

    def test_twice_is_the_stored_answer(self, tree):
        name = held(tree, 3, "leaf")
        first = tree.commit(name, usd(2), ["leaf"])
        assert tree.commit(name, usd(2), ["leaf"]) == first
        assert money(tree, "root") == [(2, 0)]

    def test_twice_with_another_amount_is_a_conflict(self, tree):
        name = held(tree, 3, "leaf")
        tree.commit(name, usd(2), ["leaf"])
        with pytest.raises(HoldConflict):
            tree.commit(name, usd(3), ["leaf"])
        assert money(tree, "root") == [(2, 0)]

    def test_after_release_is_recorded_as_late(self, tree):
        name = held(tree, 3, "leaf")
        tree.release(name)
        entry = tree.commit(name, usd(2), ["leaf"])
        assert (entry.late, entry.kind, entry.held) == (True, "commit", ZERO)
        assert money(tree, "leaf", "root") == [(2, 0)] * 2

    def test_late_twice_is_recorded_once(self, tree):
        name = held(tree, 3, "leaf")
        tree.release(name)
        assert tree.commit(name, usd(2), ["leaf"]) == tree.commit(name, usd(2), ["leaf"])
        assert money(tree, "root") == [(2, 0)]

    def test_of_an_unknown_hold_is_recorded_as_late(self, tree):
        assert tree.commit(new_id(), usd(2), ["leaf", "sibling"]).late
        assert money(tree, "leaf", "sibling", "root") == [(2, 0)] * 3

    def test_on_a_closed_account_is_recorded(self, tree):
        name = held(tree, 3, "leaf")
        tree.close("leaf")
        tree.close("root", "cancelled")
        assert not tree.commit(name, usd(2), ["leaf"]).late
        assert money(tree, "leaf", "root") == [(2, 0)] * 2

    def test_on_a_forgotten_account_still_reaches_the_others(self, tree):
        name = held(tree, 3, "leaf")
        tree.forget("leaf")
        assert tree.verify() == []
        tree.commit(name, usd(2), ["leaf"])
        assert money(tree, "middle", "root") == [(2, 0)] * 2

    def test_spend_never_decreases(self, tree):
        seen = [0]
        for cost in (1, 0, 3):
            tree.commit(held(tree, 2, "leaf"), usd(cost), ["leaf"])
            tree.release(held(tree, 1, "leaf"))
            seen.append(tree.balance("root").spent.usd)
        assert seen == [0, 1, 1, 4]


class TestRelease:
    def test_frees_everything(self, tree):
        entry = tree.release(held(tree, 3, "leaf", "sibling"))
        assert (entry.kind, entry.amounts) == ("release", ZERO)
        assert money(tree, "leaf", "middle", "root", "sibling") == [(0, 0)] * 4

    def test_of_an_unknown_hold_is_none(self, tree):
        assert tree.release(new_id()) is None

    def test_twice_is_the_stored_answer(self, tree):
        name = held(tree, 3, "leaf")
        assert tree.release(name) == tree.release(name)

    def test_after_commit_gives_nothing_back(self, tree):
        name = held(tree, 3, "leaf")
        entry = tree.commit(name, usd(2), ["leaf"])
        assert tree.release(name) == entry
        assert money(tree, "root") == [(2, 0)]


class TestExtend:
    @pytest.mark.parametrize("amount", [1, 3, 6])
    def test_sets_the_hold_to_that_amount_in_all(self, tree, amount):
        name = held(tree, 3, "leaf")
        assert tree.extend(name, usd(amount)) == Hold(name, ("leaf",), usd(amount))
        assert money(tree, "leaf", "middle", "root") == [(0, amount)] * 3

    def test_a_denial_leaves_the_hold_as_it_was(self, tree):
        name = held(tree, 3, "leaf")
        denial = tree.extend(name, usd(7))
        assert denial == Denial("leaf", "usd", 6, spent=0, reserved=0, requested=7)
        assert money(tree, "leaf", "root") == [(0, 3)] * 2
        tree.commit(name, usd(3), ["leaf"])
        assert money(tree, "leaf", "root") == [(3, 0)] * 2

    def test_may_run_through_more_accounts(self, tree):
        name = held(tree, 3, "leaf")
        tree.extend(name, usd(4), ["sibling"])
        assert money(tree, "leaf", "sibling", "root") == [(0, 4)] * 3
        entry = tree.commit(name, usd(1), ["leaf", "sibling"])
        assert set(entry.path) == {"leaf", "middle", "root", "sibling"}
        assert money(tree, "leaf", "sibling", "root") == [(1, 0)] * 3

    def test_a_joining_account_that_cannot_hold_it_refuses(self, tree):
        other = held(tree, 7, "sibling")
        name = held(tree, 3, "leaf")
        assert tree.extend(name, usd(2), ["sibling"]).account == "sibling"
        assert money(tree, "leaf", "sibling", "root") == [(0, 3), (0, 7), (0, 10)]
        tree.release(other)
        assert isinstance(tree.extend(name, usd(2), ["sibling"]), Hold)

    @pytest.mark.parametrize("state", ["closed", "finalized"])
    def test_giving_back_never_fails_in_an_account_that_has_ended(self, tree, state):
        name = held(tree, 3, "leaf")
        tree.close("middle", state)
        assert isinstance(tree.extend(name, usd(1)), Hold)
        assert tree.extend(name, usd(2)).state == state
        assert money(tree, "leaf", "root") == [(0, 1)] * 2

    def test_giving_back_never_fails_in_an_account_that_is_over(self, tree):
        name = held(tree, 3, "leaf")
        tree.charge(new_id(), ["root"], usd(20))
        assert isinstance(tree.extend(name, usd(1)), Hold)
        assert money(tree, "leaf") == [(0, 1)]

    def test_a_cancelled_account_stops_a_call_that_is_not_sent_yet(self, tree):
        name = held(tree, 3, "leaf")
        tree.close("root", "cancelled")
        assert tree.extend(name, usd(1)).state == "cancelled"
        assert money(tree, "leaf") == [(0, 3)]

    def test_of_a_hold_that_has_ended_is_a_conflict(self, tree):
        name = held(tree, 3, "leaf")
        tree.release(name)
        with pytest.raises(HoldConflict):
            tree.extend(name, usd(1))
        with pytest.raises(HoldConflict):
            tree.extend(new_id(), usd(1))


class TestCharge:
    def test_is_recorded_everywhere(self, tree):
        entry = tree.charge(new_id(), ["leaf"], usd(2))
        assert (entry.kind, entry.late, entry.over) == ("charge", False, None)
        assert money(tree, "leaf", "middle", "root") == [(2, 0)] * 3

    def test_never_refuses(self, tree):
        tree.close("root", "cancelled")
        entry = tree.charge(new_id(), ["leaf"], usd(11))
        assert (entry.over.account, entry.over.requested) == ("leaf", 11)
        assert money(tree, "root") == [(11, 0)]

    def test_over_several_accounts_a_shared_ancestor_pays_once(self, tree):
        tree.charge(new_id(), ["leaf", "sibling"], usd(2))
        assert money(tree, "leaf", "middle", "sibling", "root") == [(2, 0)] * 4

    def test_twice_is_the_stored_answer(self, tree):
        name = new_id()
        assert tree.charge(name, ["leaf"], usd(2)) == tree.charge(name, ["leaf"], usd(2))
        assert money(tree, "root") == [(2, 0)]

    def test_twice_with_another_amount_is_a_conflict(self, tree):
        name = new_id()
        tree.charge(name, ["leaf"], usd(2))
        with pytest.raises(HoldConflict):
            tree.charge(name, ["leaf"], usd(3))
        assert money(tree, "root") == [(2, 0)]

    def test_beside_holds_is_no_fault_though_it_takes_what_they_were_promised(self, tree):
        held(tree, 6, "leaf")
        tree.charge(new_id(), ["leaf"], usd(3))
        assert money(tree, "leaf") == [(3, 6)]
        assert tree.verify() == []


class TestTheReserve:
    """What an account keeps back for its last call."""

    @pytest.fixture
    def account(self, ledger):
        opened(ledger, "root", 10)
        opened(ledger, "a", 5, "root", reserve=usd(2))
        opened(ledger, "b", None, "root")
        yield "a"
        assert ledger.verify() == []

    def test_is_set_aside_in_every_ancestor(self, ledger, account):
        assert money(ledger, "a", "root") == [(0, 0), (0, 2)]

    def test_siblings_cannot_drain_it(self, ledger, account):
        assert refused(ledger, 9, "b").account == "root"
        held(ledger, 8, "b")
        held(ledger, 2, "a", final="a")

    def test_ordinary_calls_do_not_see_it(self, ledger, account):
        denial = refused(ledger, 4, "a")
        assert (denial.account, denial.limit) == ("a", 3)
        held(ledger, 3, "a")

    def test_the_last_call_sees_all_of_the_limit(self, ledger, account):
        assert refused(ledger, 6, "a", final="a").limit == 5
        held(ledger, 5, "a", final="a")
        assert money(ledger, "a", "root") == [(0, 5), (0, 5)]

    def test_the_last_call_never_sees_an_ancestors_reserve(self, ledger):
        opened(ledger, "root", 10, reserve=usd(6))
        opened(ledger, "a", 5, "root", reserve=usd(2))
        denial = refused(ledger, 5, "a", final="a")
        assert (denial.account, denial.limit) == ("root", 4)
        held(ledger, 4, "a", final="a")

    def test_a_childs_last_call_leaves_its_parents_reserve_alone(self, ledger):
        opened(ledger, "root", 10, reserve=usd(2))
        opened(ledger, "a", 9, "root")
        assert refused(ledger, 9, "a").account == "root"
        held(ledger, 9, "a", final="root")

    def test_one_last_call_at_a_time(self, ledger, account):
        held(ledger, 1, "a", final="a")
        denial = refused(ledger, 1, "a", final="a")
        assert (denial.account, denial.state) == ("a", "finalized")

    def test_after_its_commit_the_account_is_finalized_and_gives_back_the_rest(
        self, ledger, account
    ):
        ledger.commit(held(ledger, 2, "a", final="a"), usd(1), ["a"])
        assert ledger.balance("a").state == "finalized"
        assert money(ledger, "a", "root") == [(1, 0)] * 2
        assert refused(ledger, 1, "a").state == "finalized"
        held(ledger, 9, "b")

    def test_after_its_release_the_reserve_is_set_aside_again(self, ledger, account):
        ledger.release(held(ledger, 4, "a", final="a"))
        assert ledger.balance("a").state == "open"
        assert money(ledger, "a", "root") == [(0, 0), (0, 2)]
        assert refused(ledger, 4, "a").limit == 3
        held(ledger, 5, "a", final="a")

    def test_the_last_call_may_be_charged_without_a_hold(self, ledger, account):
        entry = ledger.charge(new_id(), ["a"], usd(5), final="a")
        assert entry.over is None
        assert ledger.balance("a").state == "finalized"
        assert money(ledger, "root") == [(5, 0)]

    def test_the_last_call_may_be_extended(self, ledger, account):
        name = held(ledger, 1, "a", final="a")
        assert isinstance(ledger.extend(name, usd(5)), Hold)
        assert isinstance(ledger.extend(name, usd(6)), Denial)
        assert money(ledger, "a", "root") == [(0, 5), (0, 5)]
        assert refused(ledger, 1, "a", final="a").state == "finalized"

    def test_spending_into_it_is_told(self, ledger, account):
        assert ledger.charge(new_id(), ["a"], usd(3)).over is None
        assert ledger.charge(new_id(), ["a"], usd(1)).over.limit == 3

    def test_closing_gives_it_back(self, ledger, account):
        ledger.close("a")
        assert money(ledger, "root") == [(0, 0)]
        ledger.open(Account("a", "root", FIVE, usd(2)))
        assert money(ledger, "root") == [(0, 2)]

    def test_closing_while_the_last_call_is_out_keeps_what_that_holds(self, ledger, account):
        name = held(ledger, 2, "a", final="a")
        ledger.close("a")
        assert money(ledger, "a", "root") == [(0, 2), (0, 2)]
        assert ledger.verify() == []
        ledger.commit(name, usd(1), ["a"])
        assert money(ledger, "a", "root") == [(1, 0)] * 2

    @pytest.mark.parametrize("state", ["closed", "cancelled"])
    def test_the_last_call_does_not_hide_that_the_account_was_ended(self, ledger, account, state):
        name = held(ledger, 2, "a", final="a")
        ledger.close("a", state)
        ledger.commit(name, usd(1), ["a"])
        assert ledger.balance("a").state == state

    def test_opening_is_denied_where_it_cannot_be_set_aside(self, ledger, account):
        held(ledger, 7, "b")
        denial = ledger.open(Account("c", "root", FIVE, usd(2)))
        assert denial == Denial("root", "usd", 10, spent=0, reserved=9, requested=2)
        with pytest.raises(KeyError):
            ledger.balance("c")

    def test_reopening_sets_no_more_aside_than_can_still_be_spent(self, ledger, account):
        ledger.charge(new_id(), ["a"], usd(4))
        ledger.close("a")
        ledger.open(Account("a", "root", FIVE, usd(2)))
        assert money(ledger, "root") == [(4, 1)]

    def test_keeps_back_of_every_unit(self, ledger):
        limits = Limits((Limit("usd", 5), Limit("llm_calls", 3)))
        ledger.open(Account("a", None, limits, Amounts(usd=1, llm_calls=1)))
        for _ in range(2):
            assert isinstance(ledger.reserve(new_id(), ["a"], Amounts(1, 0, 1, 0)), Hold)
        assert ledger.reserve(new_id(), ["a"], Amounts(1, 0, 1, 0)).unit == "llm_calls"
        assert isinstance(ledger.reserve(new_id(), ["a"], Amounts(1, 0, 1, 0), final="a"), Hold)


class TestKeepBack:
    @pytest.fixture(autouse=True)
    def _tree(self, ledger):
        opened(ledger, "root", 10)
        opened(ledger, "a", 5, "root")
        opened(ledger, "b", None, "root")
        yield
        assert ledger.verify() == []

    def test_grows_and_shrinks_in_every_ancestor(self, ledger):
        assert ledger.keep_back("a", usd(4)) == usd(4)
        assert money(ledger, "a", "root") == [(0, 0), (0, 4)]
        assert refused(ledger, 2, "a").limit == 1
        assert ledger.keep_back("a", usd(1)) == usd(1)
        assert money(ledger, "root") == [(0, 1)]
        held(ledger, 4, "a")

    def test_no_more_than_the_account_has_left(self, ledger):
        ledger.charge(new_id(), ["a"], usd(2))
        held(ledger, 1, "a")
        assert ledger.keep_back("a", usd(4)) == usd(2)

    def test_no_more_than_the_ancestors_can_spare(self, ledger):
        held(ledger, 7, "b")
        assert ledger.keep_back("a", usd(4)) == usd(3)
        assert money(ledger, "root") == [(0, 10)]

    def test_nothing_more_where_an_ancestor_is_over(self, ledger):
        ledger.keep_back("a", usd(1))
        ledger.charge(new_id(), ["b"], usd(11))
        assert ledger.keep_back("a", usd(4)) == usd(1)

    def test_nothing_more_where_an_ancestor_is_over_in_another_unit(self, ledger):
        ledger.open(Account("top", None, Limits((Limit("usd", 9), Limit("tokens", 1)))))
        opened(ledger, "c", 5, "top")
        ledger.charge(new_id(), ["top"], Amounts(tokens=2))
        assert ledger.keep_back("c", usd(4)) == ZERO
        assert ledger.balance("c").kept_back == ZERO
        assert money(ledger, "top") == [(0, 0)]

    def test_leaves_an_account_that_has_ended_alone(self, ledger):
        ledger.keep_back("a", usd(1))
        ledger.close("a")
        assert ledger.keep_back("a", usd(4)) == ZERO
        assert money(ledger, "root") == [(0, 0)]

    def test_leaves_the_reserve_alone_while_it_is_being_spent(self, ledger):
        ledger.keep_back("a", usd(1))
        held(ledger, 1, "a", final="a")
        assert ledger.keep_back("a", usd(4)) == usd(1)

    def test_of_an_unlimited_account_is_what_its_ancestors_can_spare(self, ledger):
        held(ledger, 5, "a")
        assert ledger.keep_back("b", usd(9)) == usd(5)


class TestAllocation:
    """A limit that is set aside in every ancestor."""

    @pytest.fixture(autouse=True)
    def _tree(self, ledger):
        opened(ledger, "root", 10)
        opened(ledger, "a", 6, "root", allocated=True)
        opened(ledger, "b", None, "root")
        yield
        assert ledger.verify() == []

    def test_is_set_aside_at_once(self, ledger):
        assert money(ledger, "a", "root") == [(0, 0), (0, 6)]
        assert refused(ledger, 5, "b").remaining == 4

    def test_is_spent_out_of_what_was_set_aside(self, ledger):
        name = held(ledger, 3, "a")
        assert money(ledger, "a", "root") == [(0, 3), (0, 6)]
        ledger.commit(name, usd(2), ["a"])
        assert money(ledger, "a", "root") == [(2, 0), (2, 4)]
        ledger.charge(new_id(), ["a"], usd(1))
        assert money(ledger, "a", "root") == [(3, 0), (3, 3)]

    def test_is_denied_where_it_does_not_fit(self, ledger):
        denial = ledger.open(Account("c", "root", FIVE, allocated=True))
        assert (denial.account, denial.requested, denial.remaining) == ("root", 5, 4)

    def test_what_is_left_comes_back_at_close(self, ledger):
        ledger.commit(held(ledger, 3, "a"), usd(2), ["a"])
        ledger.close("a")
        assert money(ledger, "root") == [(2, 0)]

    def test_live_holds_keep_theirs_until_they_end(self, ledger):
        first, second = held(ledger, 1, "a"), held(ledger, 2, "a")
        ledger.close("a")
        assert money(ledger, "root") == [(0, 3)]
        ledger.commit(first, usd(1), ["a"])
        assert money(ledger, "root") == [(1, 2)]
        ledger.release(second)
        assert money(ledger, "root") == [(1, 0)]

    def test_comes_back_when_it_is_forgotten(self, ledger):
        ledger.charge(new_id(), ["a"], usd(1))
        ledger.forget("a")
        assert money(ledger, "root") == [(1, 0)]
        with pytest.raises(KeyError):
            ledger.balance("a")

    def test_live_holds_keep_theirs_when_it_is_forgotten(self, ledger):
        name = held(ledger, 2, "a")
        ledger.forget("a")
        assert money(ledger, "root") == [(0, 2)]
        assert ledger.verify() == []
        ledger.commit(name, usd(1), ["a"])
        assert money(ledger, "root") == [(1, 0)]

    def test_reopening_sets_aside_what_is_left(self, ledger):
        ledger.commit(held(ledger, 3, "a"), usd(2), ["a"])
        ledger.close("a")
        ledger.open(Account("a", "root", limited(6), allocated=True))
        assert money(ledger, "root") == [(2, 4)]
        ledger.commit(held(ledger, 4, "a"), usd(4), ["a"])
        assert money(ledger, "root") == [(6, 0)]

    def test_reopening_after_a_top_up_sets_aside_what_is_left(self, ledger):
        ledger.top_up("a", usd(2))
        ledger.close("a")
        ledger.open(Account("a", "root", limited(6), allocated=True))
        assert money(ledger, "root") == [(0, 8)]

    def test_nested_allocations_are_set_aside_level_by_level(self, ledger):
        opened(ledger, "inner", 4, "a", allocated=True)
        assert money(ledger, "inner", "a", "root") == [(0, 0), (0, 4), (0, 6)]
        ledger.commit(held(ledger, 3, "inner"), usd(3), ["inner"])
        assert money(ledger, "inner", "a", "root") == [(3, 0), (3, 1), (3, 3)]
        ledger.close("inner")
        assert money(ledger, "a", "root") == [(3, 0), (3, 3)]
        ledger.close("a")
        assert money(ledger, "root") == [(3, 0)]

    @pytest.mark.parametrize("end", ["close", "forget"])
    def test_nested_allocations_come_back_in_any_order(self, ledger, end):
        opened(ledger, "inner", 4, "a", allocated=True)
        getattr(ledger, end)("a")
        getattr(ledger, end)("inner")
        assert money(ledger, "root") == [(0, 0)]

    def test_what_a_hold_no_longer_needs_of_a_closed_one_comes_back(self, ledger):
        hold = held(ledger, 3, "a")
        ledger.close("a")
        ledger.extend(hold, usd(1))
        assert money(ledger, "root") == [(0, 1)]

    def test_a_reserve_inside_a_closed_allocation_comes_back(self, ledger):
        opened(ledger, "inner", 4, "a", reserve=usd(2))
        ledger.close("a")
        assert money(ledger, "a", "root") == [(0, 2), (0, 2)]
        ledger.close("inner")
        assert money(ledger, "a", "root") == [(0, 0), (0, 0)]

    def test_its_own_reserve_lies_within_it(self, ledger):
        opened(ledger, "c", 4, "root", allocated=True, reserve=usd(1))
        assert money(ledger, "root") == [(0, 10)]
        assert ledger.keep_back("c", usd(3)) == usd(3)
        assert money(ledger, "root") == [(0, 10)]
        ledger.commit(held(ledger, 4, "c", final="c"), usd(4), ["c"])
        assert money(ledger, "root") == [(4, 6)]

    def test_an_overage_inside_it_is_seen_above(self, ledger):
        ledger.commit(held(ledger, 1, "a"), usd(8), ["a"])
        assert money(ledger, "a", "root") == [(8, 0), (8, 0)]
        assert refused(ledger, 3, "b").account == "root"

    def test_a_top_up_is_set_aside_too(self, ledger):
        assert ledger.top_up("a", usd(2)).limits == limited(8)
        assert money(ledger, "root") == [(0, 8)]
        with pytest.raises(InvalidBudget, match="root"):
            ledger.top_up("a", usd(3))
        assert ledger.balance("a").limits == limited(8)
        assert money(ledger, "root") == [(0, 8)]

    def test_a_top_up_after_the_last_word_sets_aside_all_that_can_be_spent(self, ledger):
        ledger.commit(held(ledger, 1, "a", final="a"), usd(1), ["a"])
        assert money(ledger, "root") == [(1, 0)]
        ledger.top_up("a", usd(1))
        assert ledger.balance("a").state == "open"
        assert money(ledger, "root") == [(1, 6)]
        held(ledger, 3, "b")
        ledger.commit(held(ledger, 6, "a"), usd(6), ["a"])
        assert ledger.balance("root").remaining() == 0

    def test_a_top_up_of_a_closed_one_sets_nothing_aside(self, ledger):
        ledger.close("a")
        ledger.top_up("a", usd(2))
        assert money(ledger, "root") == [(0, 0)]

    def test_over_it_and_a_sibling_the_root_pays_once(self, ledger):
        name = held(ledger, 2, "a", "b")
        ledger.commit(name, usd(2), ["a", "b"])
        assert money(ledger, "a", "b", "root") == [(2, 0), (2, 0), (2, 4)]


class TestTopUp:
    def test_raises_the_limit(self, ledger):
        opened(ledger, "a", 5)
        held(ledger, 5, "a")
        assert ledger.top_up("a", usd(2)).limits == limited(7)
        held(ledger, 2, "a")

    def test_leaves_ancestors_and_other_units_alone(self, tree):
        tree.top_up("leaf", Amounts(usd=9, tokens=7))
        assert tree.balance("leaf").limits == limited(15)
        assert refused(tree, 9, "leaf").account == "middle"

    def test_a_finalized_account_goes_on(self, ledger):
        opened(ledger, "a", 5, reserve=usd(1))
        ledger.commit(held(ledger, 1, "a", final="a"), usd(1), ["a"])
        ledger.top_up("a", usd(1))
        held(ledger, 5, "a")

    @pytest.mark.parametrize("state", ["closed", "cancelled"])
    def test_does_not_revive_what_was_ended_otherwise(self, ledger, state):
        opened(ledger, "a", 5)
        ledger.close("a", state)
        ledger.top_up("a", usd(1))
        assert refused(ledger, 1, "a").state == state


class TestHeadroom:
    def test_is_the_least_along_the_path(self, tree):
        assert tree.headroom(["leaf"]) == (6, None, None, None)
        held(tree, 7, "sibling")
        assert tree.headroom(["leaf"]).usd == 3
        assert tree.headroom(["leaf", "sibling"]).usd == 1

    def test_is_nothing_where_it_is_over(self, tree):
        tree.charge(new_id(), ["root"], usd(20))
        assert tree.headroom(["leaf"]).usd == 0

    def test_is_nothing_in_an_account_that_has_ended(self, tree):
        tree.close("middle", "cancelled")
        assert tree.headroom(["leaf"]) == (0, 0, 0, 0)

    def test_leaves_reserves_out_but_for_the_last_call(self, ledger):
        opened(ledger, "root", 10, reserve=usd(1))
        opened(ledger, "a", 8, "root", reserve=usd(3))
        assert ledger.headroom(["a"]).usd == 5
        assert ledger.headroom(["a"], final="a").usd == 8
        held(ledger, 2, "root")
        assert ledger.headroom(["a"], final="a").usd == 7
        held(ledger, 7, "a", final="a")

    def test_is_what_a_reserve_gets(self, tree):
        held(tree, 3, "leaf")
        room = tree.headroom(["leaf"]).usd
        refused(tree, room + 1, "leaf")
        held(tree, room, "leaf")

    def test_of_each_unit(self, ledger):
        limits = Limits((Limit("tokens", 9), Limit("tool_calls", 2)))
        ledger.open(Account("a", None, limits))
        ledger.reserve(new_id(), ["a"], Amounts(1, 2, 3, 1))
        assert ledger.headroom(["a"]) == (None, 7, None, 1)


class TestEntries:
    def test_come_oldest_first_and_by_account(self, tree):
        first = tree.charge(new_id(), ["leaf"], usd(1))
        second = tree.commit(held(tree, 1, "sibling"), usd(1), ["sibling"])
        third = tree.release(held(tree, 1, "leaf"))
        assert list(tree.entries()) == [first, second, third]
        assert list(tree.entries("middle")) == [first, third]
        assert all(isinstance(entry, Entry) for entry in tree.entries("root"))

    def test_add_up_to_what_was_spent(self, tree):
        for cost in range(4):
            tree.commit(held(tree, 1, "leaf"), usd(cost), ["leaf"])
            tree.charge(new_id(), ["sibling"], usd(cost))
        for account in ("leaf", "root", "sibling"):
            total = sum(entry.amounts.usd for entry in tree.entries(account))
            assert total == tree.balance(account).spent.usd

    def test_one_terminal_record_for_each_hold(self, tree):
        name = held(tree, 1, "leaf")
        for _ in range(3):
            tree.commit(name, usd(1), ["leaf"])
            tree.release(name)
        assert [entry.id for entry in tree.entries()] == [name]


class TestLLMHolds:
    CALL = Amounts(usd=1, llm_calls=1)

    def test_tells_of_llm_calls_below(self, tree):
        assert not tree.llm_holds("root")
        hold = tree.reserve(new_id(), ["leaf"], self.CALL)
        assert tree.llm_holds("root")
        assert tree.llm_holds("leaf")
        assert not tree.llm_holds("sibling")
        tree.release(hold.id)
        assert not tree.llm_holds("root")

    def test_leaves_tools_and_those_named_out(self, tree):
        tree.reserve(new_id(), ["leaf"], Amounts(usd=1, tool_calls=1))
        assert not tree.llm_holds("root")
        hold = tree.reserve(new_id(), ["leaf"], self.CALL)
        assert not tree.llm_holds("root", [hold.id])
        tree.reserve(new_id(), ["sibling"], self.CALL)
        assert tree.llm_holds("root", [hold.id])

    def test_leaves_out_what_an_allocation_holds_anyway(self, tree):
        opened(tree, "own", 2, "root", allocated=True)
        tree.reserve(new_id(), ["own"], self.CALL)
        assert tree.llm_holds("own")
        assert not tree.llm_holds("root")


class TestWatch:
    @pytest.mark.parametrize(
        "free",
        [
            lambda ledger, hold: ledger.commit(hold, usd(0), ["leaf"]),
            lambda ledger, hold: ledger.release(hold),
            lambda ledger, hold: ledger.extend(hold, usd(1)),
            lambda ledger, _: ledger.top_up("root", usd(1)),
            lambda ledger, _: ledger.close("sibling"),
            lambda ledger, _: ledger.keep_back("sibling", usd(0)),
        ],
        ids=["commit", "release", "extend", "top_up", "close", "keep_back"],
    )
    def test_hears_whenever_money_may_have_become_free(self, tree, free):
        hold = held(tree, 2, "leaf")
        rung = threading.Event()
        end = tree.watch(rung.set)
        free(tree, hold)
        assert rung.wait(5)
        end()

    def test_hears_nothing_after_its_end(self, ledger):
        opened(ledger, "a", 5)
        heard, others = [], []
        end, other = ledger.watch(lambda: heard.append(1)), ledger.watch(lambda: others.append(1))
        end()
        end()
        ledger.release(held(ledger, 1, "a"))
        other()
        assert (heard, others) == ([], [1])

    def test_of_an_account_hears_of_that_and_of_what_is_below_it(self, tree):
        heard = []
        ends = [
            tree.watch(lambda name=name: heard.append(name), name)
            for name in ("root", "leaf", "sibling")
        ]
        tree.release(held(tree, 1, "leaf"))
        assert sorted(heard) == ["leaf", "root"]
        heard.clear()
        tree.top_up("sibling", usd(1))
        assert sorted(heard) == ["leaf", "root", "sibling"]
        for end in ends:
            end()

    def test_may_ask_the_ledger_itself(self, ledger):
        opened(ledger, "a", 5)
        seen = []
        end = ledger.watch(lambda: seen.append(ledger.headroom(["a"]).usd))
        ledger.release(held(ledger, 1, "a"))
        end()
        assert seen == [5]


class TestForget:
    def test_closes_the_account(self, tree):
        tree.forget("leaf")
        with pytest.raises(KeyError):
            tree.reserve(new_id(), ["leaf"], usd(1))

    @pytest.mark.parametrize(
        "do",
        [
            lambda ledger, hold: ledger.commit(hold, usd(0), ["root"]),
            lambda ledger, hold: ledger.release(hold),
            lambda ledger, _: ledger.charge(new_id(), ["root"], usd(0)),
            lambda ledger, _: ledger.keep_back("root", usd(0)),
            lambda ledger, _: ledger.headroom(["root"]),
            lambda ledger, _: ledger.top_up("root", usd(0)),
            lambda ledger, _: ledger.open(Account("new", "root")),
            lambda ledger, _: list(ledger.entries()),
        ],
        ids=["commit", "release", "charge", "keep_back", "headroom", "top_up", "open", "entries"],
    )
    def test_whatever_comes_next_finds_its_set_asides_given_back(self, ledger, do):
        opened(ledger, "root", 10)
        opened(ledger, "own", 4, "root", allocated=True)
        hold = held(ledger, 1, "root")
        ledger.forget("own")
        do(ledger, hold)
        assert ledger.balance("root").reserved.usd <= 1
        assert ledger.verify() == []

    def test_of_one_that_is_not_known_is_nothing(self, tree):
        tree.forget("nobody")
        tree.forget("leaf")
        tree.forget("leaf")
        assert money(tree, "root") == [(0, 0)]

    def test_keeps_what_was_spent_above(self, tree):
        tree.charge(new_id(), ["leaf"], usd(3))
        tree.forget("leaf")
        tree.forget("middle")
        assert money(tree, "root") == [(3, 0)]


class TestThreads:
    def test_a_hundred_at_once_are_never_over_and_leave_no_hold(self, ledger):
        opened(ledger, "root", 1_000)
        for name in "abcd":
            opened(ledger, name, 400, "root")
        start = threading.Barrier(20)
        granted, faults = [], []

        def work(seed):
            start.wait()
            for turn in range(100):
                account = "abcd"[(seed + turn) % 4]
                hold = ledger.reserve(new_id(), [account], usd(7))
                standing = ledger.balance("root")
                if standing.spent.usd + standing.reserved.usd > 1_000:
                    faults.append(standing)
                if isinstance(hold, Hold):
                    cost = (seed + turn) % 8
                    if cost == 7:
                        ledger.release(hold.id)
                    else:
                        granted.append(ledger.commit(hold.id, usd(cost), [account]).amounts.usd)

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(work, range(20)))
        assert faults == []
        assert money(ledger, "root") == [(sum(granted), 0)]
        assert sum(ledger.balance(name).spent.usd for name in "abcd") == sum(granted)
        assert ledger.verify() == []

    def test_a_hundred_for_the_money_of_ten(self, ledger):
        opened(ledger, "root", 10)
        start = threading.Barrier(100)

        def work(_):
            start.wait()
            return ledger.reserve(new_id(), ["root"], usd(1))

        with ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(work, range(100)))
        assert sum(isinstance(answer, Hold) for answer in answers) == 10
        assert money(ledger, "root") == [(0, 10)]

    def test_one_hold_committed_by_many_is_spent_once(self, ledger):
        opened(ledger, "root", 10)
        hold = held(ledger, 5, "root")
        start = threading.Barrier(20)

        def work(_):
            start.wait()
            return ledger.commit(hold, usd(4), ["root"])

        with ThreadPoolExecutor(20) as pool:
            answers = set(pool.map(work, range(20)))
        assert len(answers) == 1
        assert money(ledger, "root") == [(4, 0)]

    def test_a_last_call_is_won_by_one(self, ledger):
        opened(ledger, "root", 10, reserve=usd(2))
        start = threading.Barrier(20)

        def work(_):
            start.wait()
            return ledger.reserve(new_id(), ["root"], usd(1), final="root")

        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(work, range(20)))
        assert sum(isinstance(answer, Hold) for answer in answers) == 1


def test_money_beyond_what_a_float_can_count_is_exact(ledger):
    opened(ledger, "a", 2**53)
    for _ in range(3):
        ledger.commit(held(ledger, 2**51 + 1, "a"), usd(2**51 + 1), ["a"])
    assert ledger.balance("a").spent.usd == 3 * (2**51 + 1)
    assert refused(ledger, 2**51 - 2, "a").remaining == 2**51 - 3


def test_ids_are_never_made_twice():
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: new_id(), range(10_000)))
    assert len(set(ids)) == len(ids)
