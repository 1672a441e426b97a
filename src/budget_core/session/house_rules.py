"""Rules for programs that are not to be changed: which models they may ask, and for how much.

``BUDGET_MODELS="gpt-4o-mini, claude-haiku-*"`` refuses all others; with
``BUDGET_MAX_OUTPUT_TOKENS=2000`` no answer may be longer. Both are read once, and cost nothing
where they are not set.
"""

from __future__ import annotations

import os
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from budget_core.errors import InvalidBudget, ModelNotAllowed
from budget_core.money.prices.names import candidates, canonical
from budget_core.runtime.plugins.markers import hookimpl

if TYPE_CHECKING:
    from budget_core.session.admission import ReserveRequest

MODELS: Final = "BUDGET_MODELS"
LONGEST: Final = "BUDGET_MAX_OUTPUT_TOKENS"

_models: Final = tuple(
    name.strip().lower() for name in os.environ.get(MODELS, "").split(",") if name.strip()
)
_longest: Final = os.environ.get(LONGEST)

if _models or _longest:

    @hookimpl
    def budget_reserve(request: ReserveRequest) -> int | None:
        """Refuse a model that is not allowed, and say how long an answer may be.

        Raises:
            ModelNotAllowed: it is none of those that are.
            InvalidBudget: the length is no whole number.
        """
        call = request.call
        if call.kind == "tool":
            return None
        if _models and not _allows(call.model):
            raise ModelNotAllowed(call.model, ", ".join(_models))
        return _tokens(_longest) if _longest else None


def _allows(model: str) -> bool:
    written = model.lower()
    names = {written, written.rpartition("/")[2], *candidates(model)}
    rules = {*_models, *map(canonical, _models)}
    return any(fnmatchcase(name, rule) for name in names for rule in rules)


def _tokens(text: str) -> int:
    with suppress(ValueError):
        if (tokens := int(text)) > 0:
            return tokens
    raise InvalidBudget(f"{LONGEST} takes a number of tokens, 1 or more; got {text!r}.")
