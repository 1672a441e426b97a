"""``budget demo``, from its options to its exit code."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from budget_cli.output import console, errors_for_people, fail, print_json
from budget_core import Limit

if TYPE_CHECKING:
    from budget_cli.demo.run import Kind

_NEEDED = ("langchain", "langgraph", "langchain_openai", "starlette", "uvicorn")
_PACE = 0.12
_CALLBACK_LOG = "langchain_core.callbacks.manager"


def demonstrate(
    budget: str, model: str, run: Kind | None, *, real: bool, fast: bool, as_json: bool
) -> int:
    """Run the demo and return the exit code: 0 only if every promise held."""
    _check(model, real=real)
    from budget_cli.demo.run import KINDS, Setting, run_agent  # noqa: PLC0415
    from budget_cli.demo.screen import Screen  # noqa: PLC0415
    from budget_cli.demo.verdict import document, promises  # noqa: PLC0415

    with errors_for_people():
        limit = Limit.parse(budget)
    if limit.unit != "usd" or limit.period or not limit.amount:
        raise fail(f"--budget takes dollars, more than 0, as in 0.05; got {budget!r}.")
    shown = console(quiet=as_json)
    pace = 0.0 if fast or as_json or not shown.is_terminal else _PACE
    setting = Setting(model, limit.amount, real=real, pace=pace)
    screen = Screen(shown, setting)
    screen.opening()
    kinds = (run,) if run else tuple(k for k in KINDS if k != "unbudgeted" or not real)
    # it warns of every error that a callback raises, the refusals that are shown here included
    logging.getLogger(_CALLBACK_LOG).setLevel(logging.ERROR)
    with errors_for_people():
        outcomes = [run_agent(kind, setting, screen) for kind in kinds]
    held = promises(outcomes, limit.amount)
    screen.comparison(outcomes, held)
    if as_json:
        print_json(document(setting, outcomes, held))
    return 0 if all(promise.held for promise in held) else 1


def _check(model: str, *, real: bool) -> None:
    """Refuse what cannot run, before anything is loaded."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise fail(f"{', '.join(missing)} missing; run: pip install 'budget-suite[demo]'")
    if real and not os.environ.get("OPENAI_API_KEY"):
        raise fail("--real needs OPENAI_API_KEY in the environment.")
    if real:
        return
    from budget_core.testing import Provider  # noqa: PLC0415

    sold = Provider().models
    if model not in sold:
        raise fail(f"The embedded provider does not sell {model!r}. It sells: {', '.join(sold)}.")
