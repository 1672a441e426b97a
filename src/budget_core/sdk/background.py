"""Responses that are made in the background: held until somebody learns what they came to.

https://platform.openai.com/docs/guides/background: ``create`` returns at once, without usage, and
the answer is written whether anybody looks or not. So its hold stays with the response's id until
`retrieve`, `cancel` or a resumed stream tells how it ended. One that nobody looks at again is
charged as held when its session closes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from budget_core.calls.responses import read_receipt
from budget_core.money.usage import NO_RECEIPT
from budget_core.runtime.weak import WeakValues

if TYPE_CHECKING:
    from budget_core.calls.call import Call
    from budget_core.money.usage import Receipt

_ABOUT_ONE: Final = re.compile(r"/responses/([^/]+)(?:/cancel)?/?$")
_GOES_ON: Final = frozenset({"queued", "in_progress"})
_kept: Final = WeakValues[str, "Call"]()


def keep(call: Call, response: Any) -> bool:
    """Keep a call held if the response says that its answer is still to come."""
    if not isinstance(response, Mapping) or response.get("status") not in _GOES_ON:
        return False
    _kept[str(response.get("id"))] = call
    return True


def looked_at(path: str) -> Call | None:
    """Return the call of the response that a request to `path` is about, if it is still held."""
    found = _ABOUT_ONE.search(path)
    call = _kept.get(found.group(1)) if found else None
    return None if call is None or call.ended else call


def settle(call: Call, response: Any) -> None:
    """End the call if the response says how its answer ended."""
    if not isinstance(response, Mapping) or response.get("status") in _GOES_ON:
        return
    receipt = read_receipt(response)
    if receipt.usage is None and response.get("status") in ("cancelled", "failed"):
        call.leave_off(NO_RECEIPT)
    else:
        call.settle(receipt)


class Watched:
    """What meters a stream of such a response: to leave it does not stop the answer.

    Args:
        call: that pays for it.
    """

    limited = False
    wired = True

    def __init__(self, call: Call) -> None:
        self._call = call

    def note(self, event: Mapping[str, Any]) -> bool:
        """Keep the call under the id that an event tells; hide none from the caller."""
        keep(self._call, event.get("response"))
        return False

    def meter(self, _seen: int, /) -> None:
        """Do nothing: the provider ends the answer at its cap."""

    def asks(self, _size: int, /) -> bool:
        """Return whether `meter` may ask the ledger: never."""
        return False

    def settle(self, outcome: Receipt | None, /) -> None:
        """End the call if its usage was told."""
        if outcome is not None and outcome.usage is not None:
            self._call.settle(outcome)

    def leave_off(self, receipt: Receipt, *, seen: int, pace: float, hidden: bool) -> None:
        """Leave the call held: the answer goes on."""
