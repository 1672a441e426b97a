"""The package's face: lazy names, and a clear word where an extra is missing."""

import subprocess
import sys

import pytest

import budget_langchain


def test_every_public_name_is_there():
    assert set(budget_langchain.__all__) <= set(dir(budget_langchain))
    for name in budget_langchain.__all__:
        assert getattr(budget_langchain, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        budget_langchain.nothing  # noqa: B018


def run(code):
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


def test_importing_it_imports_no_framework():
    code = "import sys, budget_langchain; print([m for m in sys.modules if 'langchain_' in m])"
    assert run(code).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("missing", "name"),
    [
        ("langchain_core", "LangChainBudgetCallback"),
        ("langchain", "BudgetMiddleware"),
    ],
)
def test_a_missing_extra_is_named(missing, name):
    code = f"import sys; sys.modules[{missing!r}] = None; from budget_langchain import {name}"
    assert "pip install 'budget-suite[langchain]'" in run(code).stderr
