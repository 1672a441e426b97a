"""``budget models``: the price list, and how a name is resolved in it."""

from __future__ import annotations

from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from budget_cli.output import cell, console, fail, print_json
from budget_core.errors import UnknownModel
from budget_core.money.prices import registry
from budget_core.money.prices.lookup import KnownModel, known_models, rates
from budget_core.money.prices.names import candidates, canonical, prefixes
from budget_core.money.prices.output_limits import known_max_output
from budget_core.money.prices.rates import Rates
from budget_core.money.prices.table import NATIVE, provider_id
from budget_core.money.usd import to_usd


class Resolved(NamedTuple):
    """A name as a guard would price it: `model` is the listed one, None if only a plugin knows."""

    asked: str
    model: str | None
    provider: str | None
    how: str
    rates: Rates
    max_output: int | None


def resolve(name: str) -> Resolved:
    """Look `name` up as a guard would.

    Raises:
        UnknownModel: no price is known.
    """
    found = rates(name)
    listed = _listed(name, found)
    model = listed.name if listed else None
    provider = listed.provider if listed else None
    return Resolved(name, model, provider, _how(name, model, found), found, known_max_output(name))


def show_models(name: str | None, *, as_json: bool) -> None:
    if name is None:
        _print_list(list(known_models()), as_json=as_json)
        return
    try:
        found = resolve(name)
    except UnknownModel as error:
        similar = [known for known in known_models() if canonical(name) in canonical(known.name)]
        if not similar or not name.strip():
            raise fail(str(error)) from None
        _print_list(similar, as_json=as_json, filtered=name)
    else:
        _print_one(found, as_json=as_json)


def _listed(name: str, found: Rates) -> KnownModel | None:
    if (own := registry.find(name)) is not None:
        return KnownModel(own.name, None, own.rates, own.max_output)
    known = [model for model in known_models() if model.rates == found]
    asked = [(provider_id(hint), rest) for hint, rest in prefixes(name)]
    makers = [(maker, name) for maker in NATIVE]
    for provider, wanted in (*asked, *makers, (None, name)):
        for form in candidates(wanted):
            for model in known:
                if canonical(model.name) == form and provider in (None, model.provider):
                    return model
    return None


def _how(name: str, model: str | None, found: Rates) -> str:
    if found.source == "registered":
        return "registered in this process"
    if found.source == "plugin":
        return "by a plugin (budget_price)"
    if model is None:
        return "by another name that genai-prices lists for it"
    if canonical(model) == canonical(name):
        return "by its own name"
    return "without its provider's prefix, its date, or by a known alias"


def _print_list(models: list[KnownModel], *, as_json: bool, filtered: str | None = None) -> None:
    if as_json:
        print_json({"asked": filtered, "resolved": None, "models": [_as_dict(m) for m in models]})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold", ratio=3)
    table.add_column("provider", style="dim", overflow="fold", ratio=1)
    for title in ("in", "out", "cache read", "cache write", "max output"):
        table.add_column(title, justify="right", no_wrap=True)
    for model in models:
        price = model.rates
        table.add_row(
            cell(model.name), cell(model.provider or price.source),
            *(_per_million(x) for x in (price.input, price.output)),
            *(_per_million(x) for x in (price.cache_read, price.cache_write)),
            f"{model.max_output:,}" if model.max_output else "—",
        )  # fmt: skip
    screen = console()
    screen.print(table)
    count = f"{len(models)} prices, in dollars per million tokens."
    screen.print(f"\n[dim]{count} A guard takes the first provider that makes the model.[/]")
    if filtered:
        screen.print(cell(f"No model is called {filtered!r}; these names contain it.", "dim"))


def _print_one(found: Resolved, *, as_json: bool) -> None:
    known = KnownModel(found.model or found.asked, found.provider, found.rates, found.max_output)
    if as_json:
        print_json({
            "asked": found.asked,
            "resolved": {"model": found.model, "provider": found.provider, "how": found.how},
            "models": [_as_dict(known)],
        })  # fmt: skip
        return
    price = found.rates
    grid = Table.grid(padding=(0, 3))
    grid.add_column(style="dim")
    grid.add_column()
    grid.add_row(
        "resolved", Text.assemble(cell(found.model or found.asked, "bold"), f", {found.how}")
    )
    grid.add_row("source", cell(" · ".join(filter(None, (price.source, found.provider)))))
    grid.add_row("input", f"{_per_million(price.input)} / M")
    grid.add_row("output", f"{_per_million(price.output)} / M")
    grid.add_row("cache read", f"{_per_million(price.cache_read)} / M")
    grid.add_row("cache write", f"{_per_million(price.cache_write)} / M")
    for threshold, step in price.steps:
        above = f"{_per_million(step.input)} in, {_per_million(step.output)} out / M"
        grid.add_row(f"above {threshold:,}", above)
    most = f"{found.max_output:,} tokens" if found.max_output else "not listed"
    grid.add_row("max output", most)
    console().print(grid)


def _per_million(nanos: int) -> str:
    usd = f"{to_usd(nanos):,.9f}".rstrip("0")
    whole, _, rest = usd.partition(".")
    return f"${whole}.{rest.ljust(2, '0')}"


def _as_dict(model: KnownModel) -> dict[str, Any]:
    price = model.rates
    return {
        "name": model.name,
        "provider": model.provider,
        "source": price.source,
        "input_per_million": to_usd(price.input),
        "output_per_million": to_usd(price.output),
        "cache_read_per_million": to_usd(price.cache_read),
        "cache_write_per_million": to_usd(price.cache_write),
        "max_output_tokens": model.max_output,
    }
