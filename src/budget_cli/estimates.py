"""``budget estimate``: what a call costs, what is held for it, how many a budget allows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from rich.markup import escape
from rich.table import Table

from budget_cli.output import console, errors_for_people, print_json
from budget_core.calls.quote import Quote, quote
from budget_core.ledger import Headroom
from budget_core.money.prices.lookup import rates
from budget_core.money.usage import Usage
from budget_core.money.usd import format_usd, parse_usd, to_usd
from budget_core.runtime.printing import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What calls of one kind come to; money in dollars, None where no budget was given.

    Attributes:
        cost: of one call that uses exactly these tokens.
        held: for one call whose caller caps the answer at these tokens.
        total: of all the calls asked about.
        fits: whether the budget pays for all of them.
        allowed: how many calls the budget pays for, one after the other; None for any number.
        uncapped_cap: the cap that a guard puts on the first call if the caller gives none.
        uncapped_held: what it holds for that.
    """

    model: str
    tokens_in: int
    tokens_out: int
    n: int
    calls: int
    tier: str | None
    cost: float
    held: float
    total: float
    budget: float | None = None
    fits: bool | None = None
    allowed: int | None = None
    uncapped_cap: int | None = None
    uncapped_held: float | None = None


def estimate(
    model: str,
    tokens_in: int,
    tokens_out: int,
    *,
    n: int = 1,
    calls: int = 1,
    budget: str | None = None,
    tier: str | None = None,
) -> Estimate:
    """Work the figures out as a guard does.

    Raises:
        UnknownModel: no price is known.
        InvalidBudget: the budget cannot be read.
    """
    price = rates(model, None, tier)
    cost = price.cost(Usage(tokens_in, tokens_out * n))
    # until it answers, it is unknown whether the provider grants the tier: the dearer is held
    price = max(price, rates(model), key=lambda rates: rates.worst_input(1_000_000))
    capped = quote(model, price, input_tokens=tokens_in, output_cap=tokens_out, n=n)
    held = capped.amounts(capped.most).usd
    found = Estimate(
        model=model,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        n=n,
        calls=calls,
        tier=tier,
        cost=to_usd(cost),
        held=to_usd(held),
        total=to_usd(cost * calls),
    )
    if budget is None:
        return found
    limit = parse_usd(budget)
    allowed = allowed_calls(limit, cost, held)
    open_ended = quote(model, price, input_tokens=tokens_in, output_cap=None, n=n)
    output = _uncapped(open_ended, limit)
    return replace(
        found,
        budget=to_usd(limit),
        fits=allowed is None or allowed >= calls,
        allowed=allowed,
        uncapped_cap=None if output is None else output // n,
        uncapped_held=None if output is None else to_usd(open_ended.amounts(output).usd),
    )


def allowed_calls(limit: int, cost: int, held: int) -> int | None:
    """Return how many calls in a row fit: each needs its hold free before it, then costs less.

    All in nanos; None if they are free, so that any number fits.
    """
    if held > limit:
        return 0
    return 1 + (limit - held) // cost if cost else None


def _uncapped(open_ended: Quote, limit: int) -> int | None:
    room = Headroom(limit, None, None, None)
    share = open_ended.share(room)
    fits = open_ended.amounts(share).usd <= limit
    return share if fits else open_ended.squeezed(room)


def show_estimate(
    model: str,
    tokens_in: int,
    tokens_out: int,
    *,
    n: int,
    calls: int,
    budget: str | None,
    tier: str | None,
    as_json: bool,
) -> None:
    with errors_for_people():
        found = estimate(model, tokens_in, tokens_out, n=n, calls=calls, budget=budget, tier=tier)
    if as_json:
        print_json(asdict(found))
        return
    grid = Table.grid(padding=(0, 3))
    grid.add_column(style="dim")
    grid.add_column()
    for label, value in _rows(found):
        grid.add_row(label, value)
    console().print(grid)


def _rows(found: Estimate) -> list[tuple[str, str]]:
    answers = f" for each of {found.n} answers" if found.n > 1 else ""
    tier = f" ({found.tier})" if found.tier else ""
    tokens = f"{found.tokens_in:,} in, {found.tokens_out:,} out"
    rows = [
        ("call", f"{escape(printable(found.model))}{tier}: {tokens}{answers}"),
        ("costs", f"[bold]{_usd(found.cost)}[/]"),
        ("held", f"{_usd(found.held)} if the call caps its answers at {found.tokens_out:,} tokens"),
    ]
    if found.calls > 1:
        rows.append((f"{found.calls:,} calls", _usd(found.total)))
    if found.budget is not None:
        rows += _budget_rows(found)
    return rows


def _budget_rows(found: Estimate) -> list[tuple[str, str]]:
    if found.uncapped_cap is None:
        uncapped = "refused: not even a short answer fits"
    else:
        uncapped = f"{_usd(found.uncapped_held)}, with a cap of {found.uncapped_cap:,} on the wire"
    verdict = "[green]enough[/]" if found.fits else "[red]not enough[/]"
    allowed = "any number of" if found.allowed is None else f"{found.allowed:,}"
    wanted = f", {verdict} for {found.calls:,}" if found.calls > 1 else ""
    return [
        ("uncapped", f"{uncapped}, if the first call has no cap of its own"),
        ("budget", f"{_usd(found.budget)} allows [bold]{allowed}[/] such calls{wanted}"),
    ]


def _usd(amount: float | None) -> str:
    return format_usd(round((amount or 0.0) * 1e9))
