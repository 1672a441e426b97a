"""Prices from a file, for programs that are not to be changed: ``BUDGET_PRICES=prices.json``.

A JSON object of dollars per million tokens, as `register_models` takes them::

    {"my-model": [0.5, 1.5], "another": [1, 4, 0.1]}
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from budget_core.errors import InvalidCost
from budget_core.money.prices.registry import ModelsRequest, read_prices
from budget_core.runtime.plugins.markers import hookimpl

ENVIRONMENT: Final = "BUDGET_PRICES"


@hookimpl
def budget_models(request: ModelsRequest) -> None:
    """Register what the file says, if there is one.

    Raises:
        InvalidCost: it cannot be read.
    """
    path = os.environ.get(ENVIRONMENT)
    if not path:
        return
    try:
        models = json.loads(Path(path).read_text(encoding="utf-8"))
        for name, prices in models.items():
            before, after, read = read_prices(name, prices)
            request.register(name, before, after, cache_read_price_per_million=read)
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise InvalidCost(
            f'{ENVIRONMENT}={path!r} is no file such as {{"my-model": [0.5, 1.5]}}: {error}'
        ) from error
