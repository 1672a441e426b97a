"""A hold that is placed in accounts of the tree."""

from __future__ import annotations

from budget_core.ledger.records import Denial, Hold, Kind, State
from budget_core.ledger.tree.accounts import Node, Route
from budget_core.money.amounts import ZERO, Amounts


class LiveHold:
    """A hold that has not ended. A final one takes from what was set aside above `final`.

    Attributes:
        above: what it takes in the ancestors of `final`.
        at: when it was made, in seconds since 1970; the windows of that moment hold it.
        owner: the process whose call it is.
        windowed: the accounts on its way that have windows.
    """

    __slots__ = ("above", "at", "final", "hold", "owner", "route", "windowed")

    def __init__(
        self, hold: Hold, route: Route, final: Node | None, at: float, owner: str = ""
    ) -> None:
        self.hold = hold
        self.route = route
        self.at = at
        self.owner = owner
        self.final = final
        self.windowed: list[Node] = []
        for node in route.path:
            if node.windows:
                self.windowed.append(node)
        self.above = hold.amounts
        if final is not None:
            self.above = Amounts(
                *(max(0, x - y) for x, y in zip(hold.amounts, final.aside, strict=True))
            )

    def part(self, node: Node) -> Amounts:
        if self.final is None or node not in self.final.path[1:]:
            return self.hold.amounts
        return self.above

    def within(self, other: LiveHold) -> bool:
        """Return whether this only gives back; a cancelled account takes nothing at all."""
        return (
            len(self.hold.accounts) == len(other.hold.accounts)
            and all(x <= y for x, y in zip(self.hold.amounts, other.hold.amounts, strict=True))
            and all(node.state != "cancelled" for node in self.route.path)
        )

    def place(self, *, force: bool = False) -> Denial | None:
        """Hold it in every account, or return which one refused."""
        if not force and (denial := self._refusal()):
            return denial
        if self.final is not None:
            self.final.final = self.hold.id
        for node in self.route.checked:
            node.hold(self.part(node))
        if self.windowed:
            self._hold_in_windows(1)
        return None

    def lift(self) -> None:
        for node in self.route.checked:
            usd, tokens, llm_calls, tool_calls = self.part(node)
            held = node.held
            held[0] -= usd
            held[1] -= tokens
            held[2] -= llm_calls
            held[3] -= tool_calls
        if self.windowed:
            self._hold_in_windows(-1)
        if self.final is not None:
            self.final.final = None

    def pay(self, kind: Kind, amounts: Amounts) -> None:
        """Lift it, and spend what it came to, if it was not released."""
        self.lift()
        if kind != "release":
            self.route.spend(amounts, self.at)

    def leave(self, kind: Kind) -> None:
        """Let the accounts go on without it: the last call is over, or allocations give back."""
        if self.final is not None:
            if kind == "commit":
                self.final.finish()
            else:
                self.final.trim()
        if self.route.allocated:
            self.route.trim()

    def _hold_in_windows(self, sign: int) -> None:
        for node in self.windowed:
            for window in node.windows:
                window.hold(self.at, sign * self.hold.amounts[window.at])

    def _refusal(self) -> Denial | None:
        final = self.final
        for node in self.route.path:
            if node.state != "open":
                return self._ended(node, node.state)
        if final is None:
            for node in self.route.checked:
                if denial := node.refusal(self.hold.amounts, node.kept):
                    return denial
            return self._window_refusal() if self.windowed else None
        if final.final is not None:
            return self._ended(final, "finalized")
        for node in self.route.checked:
            kept = ZERO if node is final else node.kept
            if denial := node.refusal(self.part(node), kept):
                return denial
        return self._window_refusal()

    def _window_refusal(self) -> Denial | None:
        now = self.at
        if self.windowed:
            self.at = self.route.moment(now)
        for node in self.windowed:
            if denial := node.window_refusal(self.hold.amounts, now):
                return denial
        return None

    def _ended(self, node: Node, state: State) -> Denial:
        limit = node.limits.lifelong("usd")
        usd = self.hold.amounts.usd
        return Denial(node.id, "usd", limit or 0, node.spent.usd, node.held[0], usd, state)
