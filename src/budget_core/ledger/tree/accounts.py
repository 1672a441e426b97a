"""The accounts of a ledger as a tree: what each has spent, holds, and keeps back.

An account's own ``kept`` is for its last call. ``aside`` is what its ancestors set aside for it
alone: the same amount, or for an allocated account all that it has not spent. Nothing here locks
or stores; the ledgers do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from budget_core.ledger.records import Account, Balance, Denial, Headroom, State
from budget_core.ledger.tree.windows import spent_over, windows_of
from budget_core.money.amounts import UNITS, ZERO, Amounts, plus
from budget_core.money.limits import Limits


class Node:
    """An account's balances, and its way to the root.

    Attributes:
        owners: the processes that have it open; only one that none has open is closed.
        excess: what was spent and held beyond a limit when it was lowered to that.
        gone: it can no longer be named, but something below or through it still lives.
    """

    __slots__ = (
        "account", "aside", "caps", "excess", "final", "gone", "held", "id", "kept", "limits",
        "owners", "parent", "path", "route", "spent", "state", "windows",
    )  # fmt: skip

    def __init__(self, account: Account, parent: Node | None, now: float) -> None:
        self.account = account
        self.id = account.id
        self.parent = parent
        self.limits = account.limits
        self.caps = caps_of(account.limits)
        self.windows = windows_of(account.limits, now)
        self.owners: set[str] = set()
        self.gone = False
        self.spent = ZERO
        self.held = [0, 0, 0, 0]
        self.kept = [0, 0, 0, 0]
        self.aside = [0, 0, 0, 0]
        self.excess = [0, 0, 0, 0]
        self.state: State = "open"
        self.final: str | None = None
        self.path: tuple[Node, ...] = (self, *parent.path) if parent else (self,)
        self.route = Route.of(self)

    def balance(self, now: float) -> Balance:
        held, kept = Amounts(*self.held), Amounts(*self.kept)
        windows = tuple([window.balance(now) for window in self.windows])
        return Balance(self.id, self.limits, kept, self.spent, held, self.state, windows)

    @property
    def dormant(self) -> bool:
        """It was closed, or no process has it open any more; its next opening begins anew."""
        return self.state == "closed" or (self.state == "open" and not self.owners)

    def holds_for(self, route: Route) -> bool:
        return self in route.checked or (bool(self.windows) and self in route.path)

    def hold(self, amounts: Sequence[int]) -> None:
        """Take `amounts` more, or less, into what is held."""
        held = self.held
        held[0] += amounts[0]
        held[1] += amounts[1]
        held[2] += amounts[2]
        held[3] += amounts[3]

    def refusal(self, want: Amounts, kept: Sequence[int]) -> Denial | None:
        """Return why `want` more cannot be held here, or None."""
        spent, held = self.spent, self.held
        for at, limit in self.caps:
            if (want[at] and spent[at] + held[at] + want[at] > limit - kept[at]) or (
                spent[at] > limit
            ):
                return Denial(self.id, UNITS[at], limit - kept[at], spent[at], held[at], want[at])
        return None

    def window_refusal(self, want: Amounts, now: float) -> Denial | None:
        for window in self.windows:
            if denial := window.refusal(self.id, want[window.at], now, self.state):
                return denial
        return None

    def left_in_windows(self, now: float) -> Iterator[tuple[int, int]]:
        """Yield the place of a limited unit, and how much of it is free in a window."""
        for window in self.windows:
            window.roll(now)
            yield window.at, window.limit.amount - sum(window.used())

    def set_aside(self, amounts: Sequence[int]) -> Denial | None:
        """Make what the ancestors set aside for this account `amounts`, in all or none."""
        above = self.parent.route.checked if self.parent else ()
        if not above or list(amounts) == self.aside:
            return None
        more = Amounts(*(new - old for new, old in zip(amounts, self.aside, strict=True)))
        want = Amounts(*(max(0, x) for x in more))
        for node in above if any(want) else ():
            if denial := node.refusal(want, node.kept):
                return denial
        for node in above:
            node.hold(more)
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
        """Add to the life-long limits; denied if an allocation cannot grow with them."""
        limits = self.limits.raised(by)
        caps = caps_of(limits)
        live = self.account.allocated and self.state in {"open", "finalized"}
        if live and (denial := self.set_aside(self._allocation(caps))):
            return denial
        self.limits, self.caps = limits, caps
        if self.state == "finalized":
            self.state = "open"
        return None

    def change(self, account: Account, now: float) -> Denial | None:
        """Take other limits and another reserve; denied if they cannot be set aside above."""
        before = self.account, self.limits, self.caps, self.windows
        self.account, self.limits = account, account.limits
        self.caps = caps_of(account.limits)
        self.windows = windows_of(account.limits, now, self.windows)
        denial = None
        if self.state in {"open", "finalized"} and self.final is None:
            denial = self.begin()
        if denial is not None:
            self.account, self.limits, self.caps, self.windows = before
            return denial
        for at, limit in self.caps:
            self.excess[at] = max(self.excess[at], self.spent[at] + self.held[at] - limit)
        return None

    def change_to(self, account: Account, limits: Limits) -> None:
        """Take on an account's terms as they were written down, windows empty."""
        self.account, self.limits, self.caps = account, limits, caps_of(limits)
        self.windows = windows_of(limits, 0.0)

    def finish(self) -> None:
        """Note that the last call is over; an account that was closed meanwhile stays so."""
        self.end("finalized" if self.state == "open" else self.state)

    def end(self, state: State) -> None:
        """Refuse every later hold, and give back what is set aside."""
        self.state = state
        self.kept = [0, 0, 0, 0]
        self.trim()

    def rest(self) -> None:
        """Give back what is set aside for an account that no process has open any more.

        It stays usable: a process that was only frozen goes on without its reserve. An allocation
        cannot, as nothing is set aside for it any more.
        """
        if self.account.allocated:
            self.end("closed" if self.state == "open" else self.state)
        elif self.final is None:
            self.kept = [0, 0, 0, 0]
            self.set_aside(self.kept)

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


class Route(NamedTuple):
    """Where a call's money passes: `checked` holds it, `path` spends it.

    They differ above an allocated account, where the whole allocation is held already:
    what is spent below is taken out of that.
    """

    checked: tuple[Node, ...]
    path: tuple[Node, ...]
    ids: tuple[str, ...]
    allocated: tuple[Node, ...]

    @classmethod
    def of(cls, node: Node) -> Route:
        if node.account.allocated or node.parent is None:
            checked: tuple[Node, ...] = (node,)
        else:
            checked = (node, *node.parent.route.checked)
        allocated = tuple(n for n in node.path if n.account.allocated and n.parent)
        return cls(checked, node.path, tuple(n.id for n in node.path), allocated)

    @classmethod
    def union(cls, routes: Sequence[Route]) -> Route:
        """Return the way of several accounts, each ancestor once."""
        path = tuple(dict.fromkeys(node for route in routes for node in route.path))
        return cls(
            tuple(dict.fromkeys(node for route in routes for node in route.checked)),
            path,
            tuple(node.id for node in path),
            tuple(dict.fromkeys(node for route in routes for node in route.allocated)),
        )

    def moment(self, now: float) -> float:
        """Return `now`, or when the newest window began if the clock was set back since."""
        return max([now, *(window.begun for node in self.path for window in node.windows)])

    def spend(self, amounts: Amounts, at: float) -> None:
        """Record what was spent, out of the allocations that it passes.

        Args:
            amounts: how much.
            at: when it was held, or now; the windows of that moment pay.
        """
        for node in self.path:
            node.spent = plus(node.spent, amounts)
            for window in node.windows:
                window.spend(at, amounts[window.at])
        for node in self.allocated:
            left = [max(0, x - y) for x, y in zip(node.aside, amounts, strict=True)]
            node.set_aside(left)

    def spent(self) -> tuple[Amounts, ...]:
        if len(self.path) == 1:
            return (self.path[0].spent,)
        return tuple([node.spent for node in self.path])

    def over(self, final: Node | None, amounts: Amounts) -> Denial | None:
        """Return the first account beyond what it may spend."""
        for node in self.path:
            spent, kept = node.spent, node.kept
            for at, limit in node.caps:
                most = limit if node is final else limit - kept[at]
                if spent[at] > most:
                    unit, held = UNITS[at], node.held[at]
                    return Denial(node.id, unit, most, spent[at], held, amounts[at], node.state)
            if node.windows and (over := spent_over(node.windows, node.id, amounts, node.state)):
                return over
        return None

    def ended(self, amounts: Amounts) -> Denial | None:
        """Return the first account of the path that has ended: nothing more was to be spent."""
        for node in self.path:
            if node.state != "open":
                spent, limit = node.spent.usd, node.limits.lifelong("usd")
                most, held = spent if limit is None else limit, node.held[0]
                return Denial(node.id, "usd", most, spent, held, amounts.usd, node.state)
        return None

    def headroom(self, final: Node | None, now: Callable[[], float]) -> Headroom:
        """Return how much of each unit could be held.

        Args:
            final: whose last call it is.
            now: the time, asked for where there are windows.
        """
        left: list[tuple[int, int]] = []
        for node in self.path:
            if node.state != "open":
                return Headroom(0, 0, 0, 0)
            if node.windows:
                left += node.left_in_windows(now())
        for node in self.checked:
            for at, limit in node.caps:
                free = limit - node.spent[at] - node.held[at]
                if node is not final:
                    free -= node.kept[at]
                if final is not None and node in final.path[1:]:
                    free += final.aside[at]
                left.append((at, free))
        room: list[int | None] = [None, None, None, None]
        for at, free in left:
            least = room[at]
            if least is None or free < least:
                room[at] = max(0, free)
        return tuple.__new__(Headroom, room)

    def trim(self) -> None:
        """Let allocations that have ended give back what they no longer need."""
        for node in self.allocated:
            node.trim()


def caps_of(limits: Limits) -> tuple[tuple[int, int], ...]:
    return tuple((UNITS.index(x.unit), x.amount) for x in limits.every if not x.period)
