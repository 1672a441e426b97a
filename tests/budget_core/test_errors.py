import ast
import copy
import inspect
import pickle
import re
from pathlib import Path

import pytest

import budget_core
from budget_core import AgentBudget, errors
from budget_core.calls.refusals import exhausted_by
from budget_core.calls.request import CallRequest
from budget_core.errors import (
    AccountConflict,
    AgentBudgetError,
    AmbiguousBudget,
    AnomalyDetected,
    AnswerTruncated,
    BudgetExhausted,
    CallRefused,
    ConfigurationError,
    GuardError,
    HoldConflict,
    InvalidBudget,
    InvalidCost,
    LedgerUnavailable,
    LoopDetected,
    ModelNotAllowed,
    QuotaExceeded,
    RiskDetected,
    SessionCancelled,
    SessionFinalized,
    Unbounded,
    UnknownModel,
    UnknownSetting,
)
from budget_core.ledger import Denial


class Bubble(Exception):
    """A framework's control flow."""


class Interrupt(BaseException):
    """A framework's control flow that is no Exception."""


SAMPLES = [
    BudgetExhausted("No.", limit=5.0, spent=4.0, requested=2.0, remaining=1.0, account="a"),
    AnswerTruncated("No.", cap=300, limit=5.0),
    SessionCancelled("No.", session_id="s", retry_after=3.0),
    SessionFinalized("No.", unit="tokens"),
    LoopDetected("search", 10, 60.0),
    InvalidBudget("No."),
    InvalidCost("No."),
    UnknownModel("nosuch", "nobody"),
    Unbounded("an image by URL"),
    AccountConflict("No."),
    HoldConflict("No."),
    LedgerUnavailable("connection refused", "s"),
    ModelNotAllowed("o1", "gpt-4o-mini"),
    QuotaExceeded("OpenAI", "of 60 requests/minute, 60 are used", 12.5),
    RiskDetected(("PII_EMAIL",), "s"),
    AnomalyDetected("spend_velocity", 3.0, 0.5, "s"),
    AmbiguousBudget(["s", "t"]),
    UnknownSetting("AgentBudget", "soft_limt", ["soft_limit"]),
    GuardError("No."),
]
REFUSED = {  # a call, before it was sent
    "AmbiguousBudget",
    "AnomalyDetected",
    "AnswerTruncated",
    "BudgetExhausted",
    "LedgerUnavailable",
    "LoopDetected",
    "ModelNotAllowed",
    "QuotaExceeded",
    "RiskDetected",
    "SessionCancelled",
    "SessionFinalized",
    "Unbounded",
    "UnknownModel",
}
MISWRITTEN = {  # by a person
    "AccountConflict",
    "GuardError",
    "HoldConflict",
    "InvalidBudget",
    "InvalidCost",
    "UnknownSetting",
}
SRC = Path(__file__).parents[2] / "src"


def classes():
    return [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, AgentBudgetError)
    ]


def test_all_names_every_class_and_no_other():
    assert sorted(errors.__all__) == sorted(kind.__name__ for kind in classes())


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    above, tree = ["AgentBudgetError"], {}
    for bars, name, builtin in re.findall(
        r"^    ([│ ]*)[├└]── (\w+)(?: \((\w+)\))?", errors.__doc__, re.MULTILINE
    ):
        depth = len(bars) // 4 + 1
        del above[depth:]
        tree[name] = {above[-1], *([builtin] if builtin else [])}
        above.append(name)
    assert {"AgentBudgetError", *tree} == set(errors.__all__)
    for name, bases in tree.items():
        assert {base.__name__ for base in getattr(errors, name).__bases__} == bases


def test_each_error_is_in_the_layer_of_its_kind():
    leaves = {kind.__name__ for kind in classes()} - {
        "AgentBudgetError",
        "CallRefused",
        "ConfigurationError",
    }
    refused = {name for name in leaves if issubclass(getattr(errors, name), CallRefused)}
    miswritten = {name for name in leaves if issubclass(getattr(errors, name), ConfigurationError)}
    assert (refused, miswritten) == (REFUSED, MISWRITTEN)
    assert {type(sample).__name__ for sample in SAMPLES} == leaves


def test_nothing_is_raised_that_is_in_no_layer():
    raised, derived = set(), {}
    for file in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and node.exc is not None:
                made = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
                raised.add(getattr(made, "id", None))
            elif isinstance(node, ast.ClassDef):
                derived[node.name] = {getattr(base, "id", None) for base in node.bases}
    assert "AgentBudgetError" not in raised
    assert [name for name, bases in derived.items() if "AgentBudgetError" in bases] == [
        "CallRefused",
        "ConfigurationError",
    ]


def test_every_error_that_users_meet_is_public():
    assert set(errors.__all__) - set(budget_core.__all__) <= {"GuardError"}


@pytest.mark.parametrize("error", SAMPLES, ids=lambda e: type(e).__name__)
class TestEvery:
    @pytest.mark.parametrize("mixin", [Bubble, Interrupt])
    def test_recast_is_caught_as_both_and_keeps_everything(self, error, mixin):
        twin = error.recast(mixin)
        assert isinstance(twin, type(error))
        assert isinstance(twin, mixin)
        assert (str(twin), twin.args, vars(twin)) == (str(error), error.args, vars(error))
        assert type(twin).__name__ == type(error).__name__
        with pytest.raises(mixin):
            raise twin

    def test_recast_to_nothing_or_to_what_it_is_is_itself(self, error):
        assert error.recast(None) is error
        twin = error.recast(Bubble)
        assert twin.recast(Bubble) is twin

    @pytest.mark.parametrize("mixin", [None, Bubble])
    def test_pickles_as_the_plain_error(self, error, mixin):
        back = pickle.loads(pickle.dumps(error.recast(mixin)))  # noqa: S301
        assert type(back) is type(error)
        assert (str(back), back.args, vars(back)) == (str(error), error.args, vars(error))

    def test_copies(self, error):
        assert vars(copy.copy(error)) == vars(error)

    def test_is_an_agent_budget_error(self, error):
        assert isinstance(error, AgentBudgetError)


def test_recast_twice_is_caught_as_all_three_and_pickles_plain():
    twin = UnknownModel("nosuch").recast(Bubble).recast(Interrupt)
    assert isinstance(twin, Bubble)
    assert isinstance(twin, Interrupt)
    assert type(pickle.loads(pickle.dumps(twin))) is UnknownModel  # noqa: S301


def test_carrying_attaches_what_was_paid_for():
    error = BudgetExhausted("No.")
    assert error.result is None
    assert error.carrying("answer") is error
    assert error.recast(Bubble).result == "answer"


def test_builtins_catch_what_belongs_to_them():
    assert issubclass(InvalidBudget, ValueError)
    assert issubclass(InvalidCost, ValueError)
    assert issubclass(UnknownModel, LookupError)
    assert issubclass(UnknownSetting, TypeError)


class TestMessages:
    """What happened, to which account, and what to do next."""

    def test_of_an_unknown_model_is_the_line_to_write(self):
        text = str(UnknownModel("nosuch", "nobody"))
        assert "register_model('nosuch', input_price_per_million=" in text
        assert "unknown_model='allow'" in text
        assert "'nobody'" in text

    def test_of_a_loop_names_the_setting(self):
        assert "max_repeated_calls" in str(LoopDetected("search", 10, 60.0))
        assert "'search' was called 10 times" in str(LoopDetected("search", 10, 60.0))

    def test_of_what_has_no_bound_names_the_setting(self):
        assert "unbounded='allow'" in str(Unbounded("an image by URL"))

    def test_of_a_ledger_that_is_gone_says_that_nothing_was_sent(self):
        error = LedgerUnavailable("connection refused", "s")
        assert "connection refused" in str(error)
        assert "refused" in str(error)
        assert (error.reason, error.session_id) == ("connection refused", "s")

    @pytest.mark.parametrize(
        ("denial", "kind", "words"),
        [
            (
                Denial("a", "usd", 5 * 10**9, 4 * 10**9, 0, 2 * 10**9),
                BudgetExhausted,
                ["gpt", "'a'", "above session 's'", "$2.00", "$1.00", "$5.00", "$4.00", "top_up"],
            ),
            (
                Denial("s", "tokens", 10, 4, 4, 3),
                BudgetExhausted,
                ["account 's' has", "3 tokens", "2 tokens", "10 tokens", "top_up"],
            ),
            (
                Denial("a", "usd", 0, 0, 0, 0, "cancelled"),
                SessionCancelled,
                ["cancelled", "'a'", "Open a new session"],
            ),
            (
                Denial("s", "usd", 0, 0, 0, 0, "finalized"),
                SessionFinalized,
                ["finalization reserve", "'s'", "Top it up"],
            ),
            (Denial("s", "usd", 0, 0, 0, 0, "closed"), BudgetExhausted, ["closed", "Open it"]),
        ],
    )
    def test_of_a_refusal(self, denial, kind, words):
        error = exhausted_by(denial, "s", CallRequest(model="gpt"))
        assert type(error) is kind
        for word in words:
            assert word in str(error)
        assert (error.account, error.session_id, error.unit) == (denial.account, "s", denial.unit)

    def test_of_what_was_paid_already(self):
        denial = Denial("s", "usd", 10**9, 14 * 10**8, 0, 5 * 10**8)
        error = exhausted_by(denial, "s", CallRequest(kind="tool", name="search"), paid=True)
        assert "search brought account 's' to $1.40 of $1.00; it is recorded" in str(error)
        assert (error.limit, error.spent, error.requested, error.remaining) == (1.0, 1.4, 0.5, 0.0)

    def test_of_a_real_refusal_has_true_figures(self):
        session = AgentBudget("$1").session("s")
        session.track(cost=0.75)
        with pytest.raises(BudgetExhausted) as caught:
            session.open_call(CallRequest(kind="tool", name="search", cost=500_000_000))
        error = caught.value
        assert (error.limit, error.spent, error.requested, error.remaining) == (1, 0.75, 0.5, 0.25)
        assert (error.account, error.session_id, error.unit) == ("s", "s", "usd")
        assert error.retry_after is None
