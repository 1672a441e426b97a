"""The package's face: lazy names, and a clear word where an extra is missing."""

import subprocess
import sys

import pytest

import budget_autogen


def test_every_public_name_is_there():
    assert set(budget_autogen.__all__) <= set(dir(budget_autogen))
    for name in budget_autogen.__all__:
        assert getattr(budget_autogen, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        budget_autogen.nothing  # noqa: B018


def run(code):
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


def test_importing_it_imports_no_framework():
    code = (
        "import sys, budget_autogen; budget_autogen.BudgetedAssistantAgent; "
        "print([m for m in sys.modules if m.startswith(('autogen', 'openai'))])"
    )
    assert run(code).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("missing", "name"),
    [
        ("autogen_agentchat", "BudgetTermination"),
        ("autogen_core", "BudgetedChatCompletionClient"),
        ("autogen", "BudgetedConversableAgent"),
    ],
)
def test_a_missing_extra_is_named(missing, name):
    code = f"import sys; sys.modules[{missing!r}] = None; from budget_autogen import {name}"
    assert "pip install 'budget-suite[autogen]'" in run(code).stderr
