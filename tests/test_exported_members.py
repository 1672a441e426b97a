"""What a package exports: ``__all__``, the table of lazy imports and the typing block agree."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"


def _lazy():
    for file in sorted(SRC.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if "__getattr__, __dir__ = lazy(" in text:
            parts = file.relative_to(SRC).with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__"), ast.parse(text)


LAZY = dict(_lazy())


def _typed(tree):
    """Return the names that are imported for type checkers alone."""
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for inner in ast.walk(node):
                if isinstance(inner, ast.ImportFrom):
                    yield from (alias.asname or alias.name for alias in inner.names)


def test_there_are_lazy_packages():
    assert {"budget_core", "budget_core.quota", "budget_core.hooks"} < set(LAZY)


@pytest.mark.parametrize("name", LAZY)
def test_the_lists_agree(name):
    module = import_module(name)
    exported, table = set(module.__all__), set(module._HOME)
    eager = exported - table
    assert table <= exported
    assert table <= set(_typed(LAZY[name]))
    assert eager <= set(vars(module))


@pytest.mark.parametrize("name", LAZY)
def test_each_name_is_where_the_table_says(name):
    module = import_module(name)
    for exported in module.__all__:
        assert getattr(module, exported) is not None


def test_the_package_loads_little():
    code = (
        "import sys; before = set(sys.modules); import budget_core; "
        "print(*set(sys.modules) - before)"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()  # noqa: S603
    ours = {name for name in loaded if name.partition(".")[0] == "budget_core"}
    assert ours == {
        "budget_core", "budget_core.errors", "budget_core.runtime", "budget_core.runtime.lazy",
    }  # fmt: skip
    others = {name.partition(".")[0] for name in set(loaded) - ours}
    assert others <= {"__future__", "importlib", "warnings"}


PACKAGES = [
    ".".join(file.relative_to(SRC).parent.parts)
    for file in sorted(SRC.rglob("__init__.py"))
    if "__all__" in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_has_what_it_exports(name):
    module = import_module(name)
    assert {exported for exported in module.__all__ if not hasattr(module, exported)} == set()


def _undocumented(module, name):
    """Yield what of an exported class or function has no docstring."""
    value = getattr(module, name)
    if inspect.isclass(value):
        own = (kind for kind in value.__mro__ if kind.__module__.startswith("budget_"))
        members = {key for kind in own for key in vars(kind) if not key.startswith("_")}
        methods = (key for key in members if inspect.isfunction(getattr(value, key)))
        yield from (f"{name}.{key}" for key in methods if not inspect.getdoc(getattr(value, key)))
    if (inspect.isclass(value) or inspect.isroutine(value)) and not inspect.getdoc(value):
        yield name


@pytest.mark.parametrize("name", PACKAGES)
def test_what_is_exported_is_documented(name):
    module = import_module(name)
    assert [x for exported in module.__all__ for x in _undocumented(module, exported)] == []
