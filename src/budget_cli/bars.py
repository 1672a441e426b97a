"""A budget as one line: what is spent, what is held back, what is free."""

from __future__ import annotations

from typing import Final

from rich.text import Text

_FULL: Final = "█"
_KEPT: Final = "▒"
_FREE: Final = "─"
_NEAR: Final = 0.8


def bar(spent: float, limit: float | None, *, kept: float = 0.0, width: int = 40) -> Text:
    """Return a bar of `width` characters.

    Args:
        spent: dollars spent; beyond the limit the bar is full and red.
        limit: the budget in dollars, None if there is none.
        kept: of the limit, the dollars kept back at its end.
        width: characters.
    """
    if not limit:
        return Text(_FREE * width, "dim")
    full = min(width, round(width * spent / limit))
    full = max(full, 1) if spent > 0 else full
    reserve = min(width - full, round(width * kept / limit))
    text = Text()
    text.append(_FULL * full, _colour(spent, limit - kept, limit))
    text.append(_FREE * (width - full - reserve), "dim")
    text.append(_KEPT * reserve, "cyan")
    return text


def dollars(amount: float | None, digits: int = 4) -> str:
    """Return an amount as tables show it: ``$0.0123``, or a dash for None."""
    if amount is None:
        return "—"
    sign = "-" if amount < 0 else ""
    return f"{sign}${abs(amount):,.{digits}f}"


def exact_dollars(amount: float | None) -> str:
    """Return an amount with two to nine digits after the point, as many as it has."""
    if amount is None:
        return "—"
    whole, _, rest = f"{abs(amount):,.9f}".partition(".")
    return f"{'-' if amount < 0 else ''}${whole}.{rest.rstrip('0').ljust(2, '0')}"


def _colour(spent: float, ordinary: float, limit: float) -> str:
    if spent > limit:
        return "bold red"
    return "yellow" if spent >= _NEAR * ordinary else "green"
