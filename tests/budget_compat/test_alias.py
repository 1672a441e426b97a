"""The old path: `budget_core.compat.X` is `budget_compat.X`, the very module, and loaded once."""

import importlib
import importlib.util
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import budget_compat
from budget_core.errors import BudgetExhausted

HERE = Path(budget_compat.__file__).parent
MODULES = sorted(
    ".".join(part for part in file.relative_to(HERE).with_suffix("").parts if part != "__init__")
    for file in HERE.rglob("*.py")
    if file != HERE / "__init__.py"
)


def fresh(code):
    """Run code in a process of its own; return what it prints as JSON."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(HERE.parent)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_there_are_modules():
    assert {"agentbudget", "agentbudget.integrations.langchain", "quotawatch.types"} < set(MODULES)


@pytest.mark.parametrize("first", ["budget_core.compat", "budget_compat"])
def test_each_module_is_one_under_both_names_whichever_comes_first(first):
    code = f"""
import json, sys
from importlib import import_module
for name in {MODULES}:
    import_module(f"{first}.{{name}}")
found = dict((name, [import_module(f"{{package}}.{{name}}") is import_module(f"budget_compat.{{name}}")
                     and import_module(f"{{package}}.{{name}}").__name__
                     for package in ("budget_core.compat", "budget_compat")]) for name in {MODULES})
files = [module.__file__ for module in dict((id(m), m) for m in sys.modules.values()).values()
         if "budget_compat" in str(getattr(module, "__file__", ""))]
print(json.dumps([found, len(files) - len(set(files))]))
"""
    assert fresh(code) == [{name: [f"budget_compat.{name}"] * 2 for name in MODULES}, 0]


def test_names_are_imported_from_within():
    code = """
import json
from budget_core.compat.agentbudget.integrations.langchain import LangChainBudgetCallback
from budget_core.compat.agentbudget import integrations
from budget_core.compat import agent_budget_guard
import budget_core.compat.quotawatch.types as types
import budget_langchain, budget_compat.agentbudget.integrations as true
print(json.dumps([LangChainBudgetCallback is budget_langchain.LangChainBudgetCallback,
                  integrations is true, agent_budget_guard.__name__, types.__name__]))
"""
    assert fresh(code) == [
        True, True, "budget_compat.agent_budget_guard", "budget_compat.quotawatch.types",
    ]  # fmt: skip


def test_nothing_is_loaded_before_it_is_asked_for():
    code = """
import json, sys
import budget_core.compat
print(json.dumps([name for name in sys.modules if name.startswith("budget_compat")]))
"""
    assert fresh(code) == []


def test_what_was_pickled_by_the_old_path_is_read():
    from budget_compat.agentwatch import AgentBudgetExceeded

    error = AgentBudgetExceeded("spent", limit=1.0)
    old = pickle.dumps(error, protocol=0).replace(
        b"budget_compat.agentwatch", b"budget_core.compat.agentwatch"
    )
    assert b"budget_core.compat" in old
    for text in (old, pickle.dumps(error)):
        read = pickle.loads(text)  # noqa: S301
        assert type(read) is AgentBudgetExceeded
        assert isinstance(read, BudgetExhausted)
        assert read.args == error.args


def test_a_module_that_is_not_there():
    assert importlib.util.find_spec("budget_core.compat.nobody") is None
    assert importlib.util.find_spec("budget_core.compat.agentwatch") is not None
    with pytest.raises(ModuleNotFoundError, match=r"budget_core\.compat\.nobody"):
        importlib.import_module("budget_core.compat.nobody")
