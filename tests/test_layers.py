"""The house stands: a file imports only from floors below its own room, and nothing in a circle.

All imports count, those for typing alone and those inside functions too.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
FLOORS = (
    ("budget_core.errors",),
    ("budget_core.runtime",),
    ("budget_core.money",),
    ("budget_core.ledger", "budget_core.events"),
    ("budget_core.calls",),
    ("budget_core.session",),
    ("budget_core.sdk",),
    ("budget_core.hooks", "budget_core.quota"),
    ("budget_core.frameworks", "budget_core.testing"),
    ("budget_core",),  # the face, for everybody outside
    ("budget_langchain", "budget_autogen", "budget_crewai"),
    ("budget_compat", "budget_cli"),
    ("budget_core.compat",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MOST_LINES = 450
MOST_ENTRIES = 13


def _modules():
    for file in sorted(SRC.rglob("*.py")):
        *packages, name = file.relative_to(SRC).with_suffix("").parts
        parts = packages if name == "__init__" else [*packages, name]
        yield ".".join(parts), file


MODULES = dict(_modules())


def _imported(file):
    """Return the modules of ours that a file imports, by any statement."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)


ARROWS = {name: sorted(set(_imported(file)) - {name}) for name, file in MODULES.items()}


def _room(module):
    """Return the room that a module is in, the innermost that the floors name."""
    while module not in FLOOR:
        module = module.rpartition(".")[0]
    return module


def _back(module, other):
    room, below = _room(module), _room(other)
    return room != below and FLOOR[below] >= FLOOR[room]


def _circles():
    """Return the strongly connected parts of the graph that are larger than one (Tarjan, 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in ARROWS[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            at = stack.index(module)
            part = stack[at:]
            del stack[at:]
            if len(part) > 1:
                found.append(sorted(part))

    for module in ARROWS:
        if module not in index:
            visit(module)
    return found


def test_every_file_is_in_a_room():
    assert {room for room in map(_room, MODULES) if room in FLOOR} == set(FLOOR)


def test_no_arrow_runs_up():
    back = {
        (module, other) for module in ARROWS for other in ARROWS[module] if _back(module, other)
    }
    assert back == set()


def test_nothing_is_imported_in_a_circle():
    assert _circles() == []


def test_adapters_do_not_know_each_other():
    frameworks = ("budget_langchain", "budget_autogen", "budget_crewai")
    known = defaultdict(set)
    for module, others in ARROWS.items():
        if (package := module.partition(".")[0]) in frameworks:
            known[package] |= {other.partition(".")[0] for other in others}
    assert all(known[one] & set(frameworks) <= {one} for one in frameworks)


def test_contributors_are_told_the_same_floors():
    text = (SRC.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| (\d+) \| `([\w.]+)` \|", text, re.MULTILINE)
    assert told == [(str(n), room) for n, rooms in enumerate(FLOORS, 1) for room in rooms]


def test_the_core_is_a_dozen_entries():
    entries = {entry.name for entry in (SRC / "budget_core").iterdir()}
    entries -= {"__init__.py", "py.typed", "compat", "__pycache__"}
    assert len(entries) <= MOST_ENTRIES


@pytest.mark.parametrize("module", MODULES)
def test_a_file_can_be_read_in_one_sitting(module):
    lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    most = 350 if module == "budget_core.session.session" else MOST_LINES
    assert lines <= most
