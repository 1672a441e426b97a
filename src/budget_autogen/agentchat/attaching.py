"""Attaching a tracker to agents and teams of AgentChat that exist already."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any

from autogen_agentchat.agents import BaseChatAgent
from autogen_agentchat.teams import BaseGroupChat

from budget_autogen.agentchat.agents import budgeted, paid_client
from budget_autogen.agentchat.teams import (
    BudgetedTeam,
    budgeted_team,
    end_with,
    end_without,
    manager_of,
)
from budget_autogen.paying import Payers, payers_of

if TYPE_CHECKING:
    from budget_autogen.tracker import AutoGenBudgetTracker


def attach(tracker: AutoGenBudgetTracker, target: Any) -> None:
    """Let a tracker pay for an agent or a team, and for everybody in it.

    Raises:
        TypeError: it is neither.
    """
    for one in _everybody(target, tracker):
        if isinstance(one, BaseGroupChat):
            _attach_team(tracker, one)
        else:
            _attach_agent(tracker, one)


def detach(tracker: AutoGenBudgetTracker, target: Any) -> None:
    for one in _everybody(target, tracker):
        if (payers := payers_of(one)) is None:
            continue
        payers.remove(tracker)
        if isinstance(one, BudgetedTeam):
            end_without(one, tracker)
        brought = getattr(one, "_budget_brought", ())
        if all(known in brought for known in payers.attached):
            _restore(one, payers)


def _attach_agent(tracker: AutoGenBudgetTracker, agent: Any) -> None:
    if (payers := payers_of(agent)) is None:
        payers = agent._budget_payers = Payers(agent.name)  # noqa: SLF001
        _become(agent, budgeted)
    payers.add(tracker)
    paid_client(agent, payers)


def _attach_team(tracker: AutoGenBudgetTracker, team: Any) -> None:
    if (payers := payers_of(team)) is None:
        payers = team._budget_payers = manager_of(team)  # noqa: SLF001
        team._budget_endings = {}  # noqa: SLF001
        _become(team, budgeted_team)
    payers.add(tracker)
    paid_client(team, payers)
    end_with(team, tracker)


def _become(one: object, derived: Callable[[Hashable], Any]) -> None:
    own: Any = type(one)
    if (kind := derived(own)) is not own:
        one.__dict__["_unpaid_class"] = own
        one.__class__ = kind


def _restore(one: Any, payers: Payers) -> None:
    own: Any = one.__dict__.pop("_unpaid_class", None)
    if own is None:  # a budgeted agent by birth
        return
    payers.attached = ()
    if (client := one.__dict__.pop("_unpaid_client", None)) is not None:
        one._model_client = client  # noqa: SLF001
    one.__dict__.pop("_budget_brought", None)
    one.__class__ = own
    del one._budget_payers  # noqa: SLF001


def _everybody(target: Any, tracker: AutoGenBudgetTracker) -> Iterator[Any]:
    """Return an agent or a team, and all that are in it or, without a budget, in its tools."""
    if not isinstance(target, BaseChatAgent | BaseGroupChat):
        raise TypeError(
            f"A tracker attaches to agents and teams of AgentChat; got {target!r}. For a model "
            "client alone, use BudgetedChatCompletionClient."
        )
    seen: list[Any] = []
    waiting = [target]
    while waiting:
        one = waiting.pop()
        known = isinstance(one, BaseChatAgent | BaseGroupChat)
        if not known or any(before is one for before in seen):
            continue
        seen.append(one)
        waiting.extend(_within(one, tracker))
    yield from seen


def _within(one: Any, tracker: AutoGenBudgetTracker) -> Iterator[Any]:
    yield from getattr(one, "_participants", ())
    if (team := getattr(one, "_team", None)) is not None:
        yield team
    workbench = getattr(one, "_workbench", None) or ()
    for bench in workbench if isinstance(workbench, list | tuple) else (workbench,):
        for tool in getattr(bench, "_tools", ()):
            runner = getattr(tool, "_task_runner", None)
            payers = payers_of(runner)
            if runner is not None and (payers is None or tracker in payers.attached):
                yield runner
