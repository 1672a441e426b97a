"""The ledger in memory: one lock, integers, O(depth) an operation."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from threading import RLock
from typing import Literal, NamedTuple, TypeAlias

from budget_core.errors import AccountConflict, AgentBudgetError, HoldConflict, InvalidBudget
from budget_core.ledger.base import (
    Account,
    Balance,
    Denial,
    Entry,
    Headroom,
    Hold,
    Ledger,
    State,
)
from budget_core.limits import UNITS, ZERO, Amounts, Limits

_log = logging.getLogger("budget_core")

Kind: TypeAlias = Literal["commit", "release", "charge"]


class MemoryLedger(Ledger):
    """Keeps everything in this process; gone with it.

    Holds never expire: they end with their call, or are swept with the session.

    Args:
        keep_entries: how many records to keep. Older ones are folded into a total an account,
            so that `verify` still replays everything; their ids are no longer known.
    """

    def __init__(self, keep_entries: int = 10_000) -> None:
        self._lock = RLock()
        # A finalizer may run inside our own lock, in the middle of an operation: what it asks for
        # is queued, and done before the next operation looks at anything.
        self._reentered: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]  # noqa: SLF001
        self._queued: deque[Callable[[], object]] = deque()
        self._nodes: dict[str, _Node] = {}
        self._live: dict[str, _Live] = {}
        self._entries: deque[Entry] = deque()
        self._ended: dict[str, Entry] = {}
        self._folded: dict[str, tuple[Amounts, Amounts]] = {}
        self._keep = keep_entries
        self._watchers: dict[object, Callable[[], object]] = {}

    def open(self, account: Account) -> Balance | Denial:
        with self._lock:
            self._catch_up()
            if node := self._nodes.get(account.id):
                if node.account != account:
                    raise AccountConflict(_conflict(node.account, account))
                reopened = node.state == "closed"
            else:
                parent = self._nodes[account.parent] if account.parent is not None else None
                node, reopened = _Node(account, parent), True
            if reopened:
                if denial := node.begin():
                    return denial
                self._nodes[account.id] = node
            return node.balance()

    def reserve(
        self,
        hold_id: str,
        accounts: Sequence[str],
        amounts: Amounts,
        *,
        final: str | None = None,
    ) -> Hold | Denial:
        with self._lock:
            if self._queued:
                self._catch_up()
            if hold_id in self._live or hold_id in self._ended:
                return self._replayed(hold_id, accounts, amounts, final)
            route = self._route(accounts)
            last = self._nodes[final] if final is not None else None
            live = _Live(Hold(hold_id, tuple(accounts), amounts), route, last)
            if denial := live.place():
                return denial
            self._live[hold_id] = live
            return live.hold

    def extend(self, hold_id: str, amounts: Amounts, accounts: Sequence[str] = ()) -> Hold | Denial:
        with self._lock:
            live = self._live.get(hold_id)
            if live is None:
                raise HoldConflict(f"Hold {hold_id} is not live, so it cannot be extended.")
            union = tuple(dict.fromkeys((*live.hold.accounts, *accounts)))
            wider = _Live(Hold(hold_id, union, amounts), self._route(union), live.final)
            live.lift()
            if denial := wider.place(force=wider.within(live)):
                live.place(force=True)
                return denial
            self._live[hold_id] = wider
        self._wake()
        return wider.hold

    def commit(self, hold_id: str, amounts: Amounts, accounts: Sequence[str]) -> Entry:
        if self._reentered():
            live = self._live.get(hold_id)
            known = live.hold if live else Hold(hold_id, tuple(accounts), ZERO)
            self._queued.append(partial(self._commit, hold_id, amounts, known.accounts))
            return self._foreseen("commit", known, amounts)
        with self._lock:
            if self._queued:
                self._catch_up()
            entry = self._commit(hold_id, amounts, accounts)
        self._wake()
        return entry

    def release(self, hold_id: str) -> Entry | None:
        if self._reentered():
            live = self._live.get(hold_id)
            self._queued.append(partial(self._release, hold_id))
            return self._foreseen("release", live.hold, ZERO) if live else None
        with self._lock:
            if self._queued:
                self._catch_up()
            entry = self._release(hold_id)
        self._wake()
        return entry

    def charge(
        self,
        charge_id: str,
        accounts: Sequence[str],
        amounts: Amounts,
        *,
        final: str | None = None,
    ) -> Entry:
        if self._reentered():
            self._queued.append(partial(self._charge_once, charge_id, accounts, amounts, final))
            return self._foreseen("charge", Hold(charge_id, tuple(accounts), ZERO), amounts)
        with self._lock:
            if self._queued:
                self._catch_up()
            return self._charge_once(charge_id, accounts, amounts, final)

    def balance(self, account: str) -> Balance:
        fresh = not self._reentered()
        with self._lock:
            if fresh and self._queued:
                self._catch_up()
            return self._nodes[account].balance()

    def headroom(self, accounts: Sequence[str], *, final: str | None = None) -> Headroom:
        fresh = not self._reentered()
        with self._lock:
            if fresh and self._queued:
                self._catch_up()
            room: list[int | None] = [None, None, None, None]
            last = self._nodes[final] if final is not None else None
            route = self._route(accounts)
            if any(node.state != "open" for node in route.path):
                return Headroom(0, 0, 0, 0)
            for node in route.checked:
                for at, limit in node.caps:
                    free = limit - node.spent[at] - node.held[at]
                    if node is not last:
                        free -= node.kept[at]
                    if last is not None and node in last.path[1:]:
                        free += last.aside[at]
                    least = room[at]
                    if least is None or free < least:
                        room[at] = max(0, free)
            return Headroom(*room)

    def keep_back(self, account: str, amounts: Amounts) -> Amounts:
        if self._reentered():
            self._queued.append(partial(self._keep_back, account, amounts))
            return amounts
        with self._lock:
            self._catch_up()
            granted = self._keep_back(account, amounts)
        self._wake()
        return granted

    def top_up(self, account: str, amounts: Amounts) -> Balance:
        with self._lock:
            self._catch_up()
            node = self._nodes[account]
            if denial := node.raise_limits(amounts):
                raise InvalidBudget(
                    f"{account} was allocated from {denial.account}, which has not enough "
                    "left for this top-up. Top that account up first."
                )
            balance = node.balance()
        self._wake()
        return balance

    def close(self, account: str, state: State = "closed") -> None:
        if self._reentered():
            self._queued.append(partial(self._close, account, state))
            return
        with self._lock:
            self._catch_up()
            self._close(account, state)
        self._wake()

    def forget(self, account: str) -> None:
        # called by finalizers, which may run inside our own lock: it only queues
        self._queued.append(partial(self._forget, account))

    def entries(self, account: str | None = None) -> Iterator[Entry]:
        with self._lock:
            self._catch_up()
            kept = list(self._entries)
        return (entry for entry in kept if account is None or account in entry.path)

    def verify(self) -> list[str]:
        with self._lock:
            self._catch_up()
            return [
                fault
                for node in self._nodes.values()
                for fault in (*self._spent_faults(node), *self._held_faults(node))
            ]

    def llm_holds(self, account: str, besides: Collection[str] = ()) -> bool:
        with self._lock:
            node = self._nodes[account]
            return any(
                live.hold.amounts.llm_calls and node in live.route.checked and key not in besides
                for key, live in self._live.items()
            )

    def watch(self, callback: Callable[[], object]) -> Callable[[], None]:
        token = object()
        self._watchers[token] = callback
        return lambda: self._watchers.pop(token, None) and None

    def _wake(self) -> None:
        if self._watchers:
            for callback in tuple(self._watchers.values()):
                callback()

    def _route(self, accounts: Sequence[str]) -> _Route:
        if len(accounts) == 1:
            return self._nodes[accounts[0]].route
        return _Route.union([self._nodes[account].route for account in sorted(accounts)])

    def _catch_up(self) -> None:
        while self._queued:
            try:
                self._queued.popleft()()
            except (AgentBudgetError, KeyError):
                _log.exception("What a finalizer asked for could not be done")

    def _foreseen(self, kind: Kind, hold: Hold, amounts: Amounts) -> Entry:
        """Return what a queued operation will come to, as far as it can be told now."""
        route = self._route(hold.accounts)
        after = tuple(_plus(node.spent, amounts) for node in route.path)
        ids = route.ids
        return Entry(hold.id, kind, hold.accounts, ids, hold.amounts, amounts, after)

    def _commit(self, hold_id: str, amounts: Amounts, accounts: Sequence[str]) -> Entry:
        live = self._live.pop(hold_id, None)
        if live is None:
            return self._commit_late(hold_id, amounts, accounts)
        live.lift()
        hold, route = live.hold, live.route
        route.spend(amounts)
        entry = Entry(
            hold_id, "commit", hold.accounts, route.ids, hold.amounts, amounts,
            route.spent(), route.over(live.final, amounts),
        )  # fmt: skip
        self._keep_entry(entry)
        if live.final is not None:
            live.final.finish()
        if route.allocated:
            route.trim()
        return entry

    def _release(self, hold_id: str) -> Entry | None:
        live = self._live.pop(hold_id, None)
        if live is None:
            return self._ended.get(hold_id)
        live.lift()
        live.route.trim()
        if live.final is not None:
            live.final.trim()
        hold, ids = live.hold, live.route.ids
        entry = Entry(hold_id, "release", hold.accounts, ids, hold.amounts, ZERO)
        self._keep_entry(entry)
        return entry

    def _charge_once(
        self, charge_id: str, accounts: Sequence[str], amounts: Amounts, final: str | None
    ) -> Entry:
        if known := self._ended.get(charge_id):
            return _same(known, amounts)
        last = self._nodes[final] if final is not None else None
        entry = self._charge("charge", charge_id, accounts, amounts, last)
        if last is not None:
            last.finish()
        return entry

    def _charge(
        self,
        kind: Kind,
        key: str,
        accounts: Sequence[str],
        amounts: Amounts,
        final: _Node | None = None,
    ) -> Entry:
        route = self._route(accounts)
        route.spend(amounts)
        route.trim()
        entry = Entry(
            key, kind, tuple(accounts), route.ids, ZERO, amounts, route.spent(),
            route.over(final, amounts), late=kind == "commit",
        )  # fmt: skip
        self._keep_entry(entry)
        return entry

    def _keep_back(self, account: str, amounts: Amounts) -> Amounts:
        node = self._nodes[account]
        if node.state != "open" or node.final is not None:
            return Amounts(*node.kept)
        return node.keep_back(amounts)

    def _close(self, account: str, state: State) -> None:
        self._nodes[account].end(state)

    def _forget(self, account: str) -> None:
        if node := self._nodes.pop(account, None):
            node.end("closed")
            self._folded.pop(account, None)

    def _keep_entry(self, entry: Entry) -> None:
        self._ended[entry.id] = entry
        self._entries.append(entry)
        if len(self._entries) > self._keep:
            self._fold(self._entries.popleft())

    def _fold(self, entry: Entry) -> None:
        if self._ended.get(entry.id) is entry:
            del self._ended[entry.id]
        for account in entry.path:
            if account in self._nodes:
                spent, unheld = self._folded.get(account, (ZERO, ZERO))
                self._folded[account] = _plus(spent, entry.amounts), _plus(unheld, _unheld(entry))

    def _commit_late(self, hold_id: str, amounts: Amounts, accounts: Sequence[str]) -> Entry:
        known = self._ended.get(hold_id)
        if known is not None and known.kind != "release":
            return _same(known, amounts)
        return self._charge("commit", hold_id, accounts, amounts)

    def _replayed(
        self, hold_id: str, accounts: Sequence[str], amounts: Amounts, final: str | None
    ) -> Hold:
        live = self._live.get(hold_id)
        if live is None:
            raise HoldConflict(f"Hold {hold_id} has ended; its id cannot be used again.")
        last = live.final.id if live.final is not None else None
        if live.hold != Hold(hold_id, tuple(accounts), amounts) or last != final:
            raise HoldConflict(f"Hold {hold_id} is live with another payload: {live.hold}.")
        return live.hold

    def _spent_faults(self, node: _Node) -> Iterator[str]:
        replayed, unheld = self._folded.get(node.id, (ZERO, ZERO))
        for entry in self._entries:
            if node.id in entry.path:
                replayed = _plus(replayed, entry.amounts)
                unheld = _plus(unheld, _unheld(entry))
        if replayed != node.spent:
            yield f"{node.id}: spent {node.spent} but the entries come to {replayed}"
        for at, limit in node.caps:
            if node.spent[at] + node.held[at] > limit + unheld[at]:
                yield f"{node.id}: spent and reserved exceed the limit of {limit} {UNITS[at]}"

    def _held_faults(self, node: _Node) -> Iterator[str]:
        held = ZERO
        nodes = dict.fromkeys(self._nodes.values())
        for live in self._live.values():
            nodes.update(dict.fromkeys(live.route.path))  # forgotten ones included
            held = _plus(held, live.part(node)) if node in live.route.checked else held
        for other in nodes:
            if other is not node and other.parent and node in other.parent.route.checked:
                held = _plus(held, Amounts(*other.aside))
        if list(held) != node.held:
            yield f"{node.id}: reserved {node.held} but holds and set-asides come to {held}"


class _Node:
    """An account's balances. `aside` is what its ancestors set aside for it alone."""

    __slots__ = (
        "account", "aside", "caps", "final", "held", "id", "kept", "limits", "parent", "path",
        "route", "spent", "state",
    )  # fmt: skip

    def __init__(self, account: Account, parent: _Node | None) -> None:
        self.account = account
        self.id = account.id
        self.parent = parent
        self.limits = account.limits
        self.caps = _caps(account.limits)
        self.spent = ZERO
        self.held = [0, 0, 0, 0]
        self.kept = [0, 0, 0, 0]
        self.aside = [0, 0, 0, 0]
        self.state: State = "open"
        self.final: str | None = None
        self.path: tuple[_Node, ...] = (self, *parent.path) if parent else (self,)
        self.route = _Route.of(self)

    def balance(self) -> Balance:
        held = Amounts(*self.held)
        return Balance(self.id, self.limits, Amounts(*self.kept), self.spent, held, self.state)

    def refusal(self, want: Amounts, kept: Sequence[int]) -> Denial | None:
        """Return why `want` more cannot be held here, or None."""
        spent, held = self.spent, self.held
        for at, limit in self.caps:
            if (want[at] and spent[at] + held[at] + want[at] > limit - kept[at]) or (
                spent[at] > limit
            ):
                return Denial(self.id, UNITS[at], limit - kept[at], spent[at], held[at], want[at])
        return None

    def set_aside(self, amounts: Sequence[int]) -> Denial | None:
        """Make what the ancestors set aside for this account `amounts`, in all or none."""
        above = self.parent.route.checked if self.parent else ()
        more = Amounts(*(new - old for new, old in zip(amounts, self.aside, strict=True)))
        if not above or not any(more):
            return None
        want = Amounts(*(max(0, x) for x in more))
        for node in above if any(want) else ():
            if denial := node.refusal(want, node.kept):
                return denial
        for node in above:
            _add(node.held, more)
        self.aside = list(amounts)
        above[-1].trim()  # an allocation that has ended gives back what comes back to it
        return None

    def keep_back(self, amounts: Amounts) -> Amounts:
        """Keep back as much of `amounts` as this account and its ancestors can spare."""
        room = list(amounts)
        for at, limit in self.caps:
            room[at] = min(room[at], max(0, limit - self.spent[at] - self.held[at]))
        if not self.account.allocated:
            for node in self.parent.route.checked if self.parent else ():
                for at, limit in node.caps:
                    free = limit - node.kept[at] - node.spent[at] - node.held[at]
                    room[at] = min(room[at], self.aside[at] + max(0, free))
            if self.set_aside(room):
                room = list(map(min, room, self.aside))
                self.set_aside(room)
        self.kept = room
        return Amounts(*room)

    def begin(self) -> Denial | None:
        """Open, for the first time or again: set aside what is left of its part."""
        kept = list(self.account.reserve)
        for at, limit in self.caps:
            kept[at] = min(kept[at], max(0, limit - self.spent[at] - self.held[at]))
        aside = self._allocation(self.caps) if self.account.allocated else kept
        if denial := self.set_aside(aside):
            return denial
        self.state, self.kept = "open", kept
        return None

    def raise_limits(self, by: Amounts) -> Denial | None:
        limits = self.limits.raised(by)
        caps = _caps(limits)
        live = self.account.allocated and self.state in {"open", "finalized"}
        if live and (denial := self.set_aside(self._allocation(caps))):
            return denial
        self.limits, self.caps = limits, caps
        if self.state == "finalized":
            self.state = "open"
        return None

    def finish(self) -> None:
        """Note that the last call is over; an account that was closed meanwhile stays so."""
        self.end("finalized" if self.state == "open" else self.state)

    def end(self, state: State) -> None:
        self.state = state
        self.kept = [0, 0, 0, 0]
        self.trim()

    def trim(self) -> None:
        """Give back what is set aside for an account that has ended, but for its live holds."""
        if self.state != "open" and self.final is None:
            held = self.held if self.account.allocated else ZERO
            self.set_aside([min(x, y) for x, y in zip(held, self.aside, strict=True)])

    def _allocation(self, caps: Sequence[tuple[int, int]]) -> list[int]:
        aside = [0, 0, 0, 0]
        for at, limit in caps:
            aside[at] = max(0, limit - self.spent[at])
        return aside


class _Route(NamedTuple):
    """Where a call's money passes: `checked` holds it, `path` spends it.

    They differ above an allocated account, where the whole allocation is held already:
    what is spent below is taken out of that.
    """

    checked: tuple[_Node, ...]
    path: tuple[_Node, ...]
    ids: tuple[str, ...]
    allocated: tuple[_Node, ...]

    @classmethod
    def of(cls, node: _Node) -> _Route:
        if node.account.allocated or node.parent is None:
            checked: tuple[_Node, ...] = (node,)
        else:
            checked = (node, *node.parent.route.checked)
        allocated = tuple(n for n in node.path if n.account.allocated and n.parent)
        return cls(checked, node.path, tuple(n.id for n in node.path), allocated)

    @classmethod
    def union(cls, routes: Sequence[_Route]) -> _Route:
        path = tuple(dict.fromkeys(node for route in routes for node in route.path))
        return cls(
            tuple(dict.fromkeys(node for route in routes for node in route.checked)),
            path,
            tuple(node.id for node in path),
            tuple(dict.fromkeys(node for route in routes for node in route.allocated)),
        )

    def spend(self, amounts: Amounts) -> None:
        for node in self.path:
            node.spent = _plus(node.spent, amounts)
        for node in self.allocated:
            left = [max(0, x - y) for x, y in zip(node.aside, amounts, strict=True)]
            node.set_aside(left)

    def spent(self) -> tuple[Amounts, ...]:
        if len(self.path) == 1:
            return (self.path[0].spent,)
        return tuple([node.spent for node in self.path])

    def over(self, final: _Node | None, amounts: Amounts) -> Denial | None:
        for node in self.path:
            spent, kept = node.spent, node.kept
            for at, limit in node.caps:
                most = limit if node is final else limit - kept[at]
                if spent[at] > most:
                    unit, held = UNITS[at], node.held[at]
                    return Denial(node.id, unit, most, spent[at], held, amounts[at], node.state)
        return None

    def trim(self) -> None:
        for node in self.allocated:
            node.trim()


class _Live:
    """A hold that has not ended. A final one takes from what was set aside above `final`."""

    __slots__ = ("above", "final", "hold", "route")

    def __init__(self, hold: Hold, route: _Route, final: _Node | None) -> None:
        self.hold = hold
        self.route = route
        self.final = final
        self.above = hold.amounts
        if final is not None:
            self.above = Amounts(
                *(max(0, x - y) for x, y in zip(hold.amounts, final.aside, strict=True))
            )

    def part(self, node: _Node) -> Amounts:
        """Return what this hold takes of `node`."""
        if self.final is not None and node in self.final.path[1:]:
            return self.above
        return self.hold.amounts

    def within(self, other: _Live) -> bool:
        """Tell whether this only gives back; a cancelled account takes nothing at all."""
        return (
            len(self.hold.accounts) == len(other.hold.accounts)
            and all(x <= y for x, y in zip(self.hold.amounts, other.hold.amounts, strict=True))
            and all(node.state != "cancelled" for node in self.route.path)
        )

    def place(self, *, force: bool = False) -> Denial | None:
        if not force and (denial := self._refusal()):
            return denial
        if self.final is not None:
            self.final.final = self.hold.id
        for node in self.route.checked:
            _add(node.held, self.hold.amounts if self.final is None else self.part(node))
        return None

    def lift(self) -> None:
        for node in self.route.checked:
            _subtract(node.held, self.hold.amounts if self.final is None else self.part(node))
        if self.final is not None:
            self.final.final = None

    def _refusal(self) -> Denial | None:
        final = self.final
        for node in self.route.path:
            if node.state != "open":
                return self._ended(node, node.state)
        if final is not None and final.final is not None:
            return self._ended(final, "finalized")
        for node in self.route.checked:
            kept = ZERO if node is final else node.kept
            want = self.hold.amounts if final is None else self.part(node)
            if denial := node.refusal(want, kept):
                return denial
        return None

    def _ended(self, node: _Node, state: State) -> Denial:
        limit = node.limits.lifelong("usd")
        usd = self.hold.amounts.usd
        return Denial(node.id, "usd", limit or 0, node.spent.usd, node.held[0], usd, state)


def _caps(limits: Limits) -> tuple[tuple[int, int], ...]:
    if windowed := [str(limit) for limit in limits.every if limit.period]:
        raise InvalidBudget(
            f"The ledger in memory keeps life-long limits only, so {', '.join(windowed)} cannot "
            "be held. Use the amount without its period."
        )
    return tuple((UNITS.index(limit.unit), limit.amount) for limit in limits.every)


def _plus(a: Amounts, b: Amounts) -> Amounts:
    return Amounts(a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])


def _add(to: list[int], amounts: Sequence[int]) -> None:
    to[0] += amounts[0]
    to[1] += amounts[1]
    to[2] += amounts[2]
    to[3] += amounts[3]


def _subtract(of: list[int], amounts: Sequence[int]) -> None:
    of[0] -= amounts[0]
    of[1] -= amounts[1]
    of[2] -= amounts[2]
    of[3] -= amounts[3]


def _unheld(entry: Entry) -> Amounts:
    """Return what an entry spent beyond what was held for it."""
    return Amounts(*(max(0, x - y) for x, y in zip(entry.amounts, entry.held, strict=True)))


def _same(known: Entry, amounts: Amounts) -> Entry:
    if known.amounts != amounts:
        raise HoldConflict(
            f"{known.id} was recorded with {known.amounts} and cannot be recorded again with "
            f"{amounts}."
        )
    return known


def _conflict(known: Account, asked: Account) -> str:
    return (
        f"Account {asked.id!r} exists with {known}, and cannot be opened again as {asked}. "
        "Use another name, or the same limits."
    )
