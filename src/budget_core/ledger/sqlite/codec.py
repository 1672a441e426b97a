"""Values as the texts that a SQLite file holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from budget_core.ledger.records import Account, Denial, Entry
from budget_core.money.amounts import Amounts
from budget_core.money.limits import Limit, Limits

_MOST: Final = 2**63 - 1


@lru_cache(4096)
def names(keys: tuple[str, ...]) -> str:
    return json.dumps(keys)


@lru_cache(4096)
def names_from(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text)) if text else ()


def text_of(amounts: Amounts) -> str:
    return f"{amounts[0]},{amounts[1]},{amounts[2]},{amounts[3]}"


def amounts_from(text: str) -> Amounts:
    return Amounts(*map(int, text.split(",")))


def wide(row: Sequence[Any]) -> list[Any]:
    """Return a row that SQLite can hold: whole numbers of more than 64 bits are texts."""
    return [f"x{x}" if isinstance(x, int) and not -_MOST <= x <= _MOST else x for x in row]


def amounts_of(columns: Sequence[Any]) -> Amounts:
    """Return an amount of each unit from columns, whatever its size."""
    usd, tokens, llm_calls, tool_calls = columns
    if usd.__class__ is tokens.__class__ is llm_calls.__class__ is tool_calls.__class__ is int:
        return Amounts(usd, tokens, llm_calls, tool_calls)
    return Amounts(*(int(x[1:]) if isinstance(x, str) else x for x in columns))


def numbers_from(text: str) -> list[int]:
    """Read a list of an amount of each unit, most of which are zero."""
    return [0, 0, 0, 0] if text == "[0, 0, 0, 0]" else json.loads(text)


def text_of_limits(limits: Limits) -> str:
    return json.dumps(_limits(limits))


@lru_cache(4096)
def limits_from(text: str) -> Limits:
    return Limits(tuple(Limit(*each) for each in json.loads(text)))


def text_of_account(account: Account) -> str:
    """Return the text of an account as it was opened, without its id and parent."""
    return json.dumps([_limits(account.limits), account.reserve, account.allocated, account.lasts])


@lru_cache(4096)
def account_from(key: str, parent: str | None, text: str) -> Account:
    limits, reserve, allocated, lasts = json.loads(text)
    every = Limits(tuple(Limit(*each) for each in limits))
    return Account(key, parent, every, Amounts(*reserve), allocated, lasts)


def entry_columns(entry: Entry) -> tuple[Any, ...]:
    return (
        entry.id, entry.kind, entry.time, names(entry.accounts), names(entry.path), entry.path[-1],
        *entry.amounts, text_of(entry.held), ";".join([text_of(each) for each in entry.after]),
        entry.late, json.dumps(entry.over) if entry.over is not None else None,
        text_of(entry.asked) if entry.asked is not None else None,
    )  # fmt: skip


def entry_from(columns: Sequence[Any]) -> Entry:
    (key, kind, time, accounts, path, _root, usd, tokens, llm_calls, tool_calls,
     held, after, late, over, asked) = columns[:15]  # fmt: skip
    return Entry(
        key, kind, names_from(accounts), names_from(path), amounts_from(held),
        amounts_of((usd, tokens, llm_calls, tool_calls)),
        tuple(map(amounts_from, after.split(";"))) if after else (),
        Denial(*json.loads(over)) if over else None, bool(late),
        amounts_from(asked) if asked else None, time,
    )  # fmt: skip


def _limits(limits: Limits) -> list[list[Any]]:
    return [[x.unit, x.amount, x.period, x.rolling, x.zone] for x in limits.every]
