"""The replay: whether records and live holds come to what the accounts say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, Protocol, TypeAlias

from budget_core.ledger.records import Entry
from budget_core.ledger.tree.accounts import Node
from budget_core.ledger.tree.hold import LiveHold
from budget_core.money.amounts import UNITS, ZERO, Amounts, plus

Progress: TypeAlias = Callable[[int, int], object]
"""Is told how many records were replayed, and of how many."""
_TOLD: Final = 1_000
"""Records after which it is told."""


class Kept(Protocol):
    """The entries of a ledger: those that are kept, and what the others came to."""

    def __iter__(self) -> Iterator[Entry]: ...

    def __len__(self) -> int: ...

    def folded(self, account: str) -> tuple[Amounts, Amounts]:
        """Return what records that are not kept came to: spent, and spent beyond their holds."""


def faults(
    nodes: Collection[Node],
    live: Collection[LiveHold],
    records: Kept,
    progress: Progress | None = None,
) -> Iterator[str]:
    """Return what does not agree, account by account; nothing if all is well."""
    spent, beyond = _replayed(records if progress is None else _telling(records, progress))
    held, holds = _held(nodes, live)
    for node in nodes:
        folded, folded_beyond = records.folded(node.id)
        yield from _spent_faults(node, plus(folded, spent[node.id]))
        yield from _limit_faults(node, plus(folded_beyond, beyond[node.id]))
        if list(held[node]) != node.held:
            yield f"{node.id}: reserved {node.held} but holds and set-asides come to {held[node]}"
        yield from _window_faults(node, holds[node])


def unheld(entry: Entry) -> Amounts:
    spent, held = entry.amounts, entry.held
    if held is ZERO:
        return spent
    if spent[0] <= held[0] and spent[1] <= held[1] and spent[2] <= held[2] and spent[3] <= held[3]:
        return ZERO
    return Amounts(*(max(0, x - y) for x, y in zip(spent, held, strict=True)))


def _telling(records: Kept, progress: Progress) -> Iterator[Entry]:
    many = len(records)
    for at, entry in enumerate(records):
        if not at % _TOLD:
            progress(at, many)
        yield entry
    progress(many, many)


def _replayed(records: Iterable[Entry]) -> tuple[dict[str, Amounts], dict[str, Amounts]]:
    spent: dict[str, Amounts] = defaultdict(lambda: ZERO)
    beyond: dict[str, Amounts] = defaultdict(lambda: ZERO)
    for entry in records:
        more = unheld(entry)
        for account in entry.path:
            spent[account] = plus(spent[account], entry.amounts)
            if more is not ZERO:
                beyond[account] = plus(beyond[account], more)
    return spent, beyond


def _held(
    nodes: Iterable[Node], live: Iterable[LiveHold]
) -> tuple[dict[Node, Amounts], dict[Node, list[LiveHold]]]:
    """Return what holds and set-asides take of each account, and the holds that pass through it."""
    held: dict[Node, Amounts] = defaultdict(lambda: ZERO)
    holds: dict[Node, list[LiveHold]] = defaultdict(list)
    # forgotten accounts that something still passes through set aside, too
    everything = dict.fromkeys(each for node in nodes for each in node.path)
    for hold in live:
        for node in hold.route.checked:
            held[node] = plus(held[node], hold.part(node))
        for node in hold.route.path:
            holds[node].append(hold)
            everything.update(dict.fromkeys(node.path))
    for other in everything:
        for node in other.parent.route.checked if other.parent else ():
            held[node] = plus(held[node], Amounts(*other.aside))
    return held, holds


def _spent_faults(node: Node, replayed: Amounts) -> Iterator[str]:
    if replayed != node.spent:
        yield f"{node.id}: spent {node.spent} but the entries come to {replayed}"


def _limit_faults(node: Node, beyond: Amounts) -> Iterator[str]:
    for at, limit in node.caps:
        if node.spent[at] + node.held[at] > limit + beyond[at] + node.excess[at]:
            yield f"{node.id}: spent and reserved exceed the limit of {limit} {UNITS[at]}"


def _window_faults(node: Node, live: Iterable[LiveHold]) -> Iterator[str]:
    for window in node.windows:
        counted = [hold for hold in live if window.counts(hold.at) is not None]
        held = sum(hold.hold.amounts[window.at] for hold in counted)
        if held != window.used()[1]:
            yield (
                f"{node.id}: reserved {window.used()[1]} of {window.limit} but holds come to {held}"
            )
