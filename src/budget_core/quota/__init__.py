"""Quotas of APIs: what is called of them, how much is left, and no more than that.

>>> from budget_core.quota import Api, Watch
>>> with Watch(Api("OpenAI", "https://api.openai.com", ["60 requests/min"])) as watch:
...     watch.report()[0]["limits"][0]["used"]
0

Every request to a watched API is seen, wherever in this process it is made: by requests, httpx,
httpx2 or aiohttp: its path, status and time, never a body, a query string or a secret header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core.runtime.lazy import lazy

_HOME = {"Api": "api", "ApiCall": "record", "RateLimitState": "rate_limits", "Watch": "watch"}

if TYPE_CHECKING:
    from budget_core.quota.api import Api
    from budget_core.quota.rate_limits import RateLimitState
    from budget_core.quota.record import ApiCall
    from budget_core.quota.watch import Watch

__all__ = ["Api", "ApiCall", "RateLimitState", "Watch"]

__getattr__, __dir__ = lazy(__name__, _HOME)
