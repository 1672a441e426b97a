"""Attaching a tracker to agents and teams of AgentChat that exist already."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any

from autogen_agentchat.agents import BaseChatAgent
from autogen_agentchat.teams import BaseGroupChat

from budget_autogen.agentchat.agents import BudgetedAgent, budgeted, paid_client
from budget_autogen.agentchat.teams import (
    BudgetedTeam,
    budgeted_team,
    end_with,
    end_without,
    manager_of,
)
from budget_autogen.payers import Payers

if TYPE_CHECKING:
    from budget_autogen.tracker import AutoGenBudgetTracker


def attach(tracker: AutoGenBudgetTracker, target: Any) -> None:
    """Let a tracker pay for an agent or a team, and for everybody in it.

    Raises:
        TypeError: it is neither.
    """
    for one in _everybody(target):
        if isinstance(one, BaseGroupChat):
            _attach_team(tracker, one)
        else:
            _attach_agent(tracker, one)


def detach(tracker: AutoGenBudgetTracker, target: Any) -> None:
    """Undo `attach`: what nobody pays for any more is as it was."""
    for one in _everybody(target):
        payers: Payers | None = getattr(one, "payers", None)
        if payers is None:
            continue
        payers.remove(tracker)
        if isinstance(one, BudgetedTeam):
            end_without(one, tracker)
        if not payers.trackers:
            _restore(one)


def _attach_agent(tracker: AutoGenBudgetTracker, agent: Any) -> None:
    if not hasattr(agent, "payers"):
        agent.payers = Payers(agent.name)
        _become(agent, budgeted)
    agent.payers.add(tracker)
    paid_client(agent, agent.payers)


def _attach_team(tracker: AutoGenBudgetTracker, team: Any) -> None:
    if not hasattr(team, "payers"):
        team.payers, team._budget_endings = manager_of(team), {}  # noqa: SLF001
        _become(team, budgeted_team)
    team.payers.add(tracker)
    paid_client(team, team.payers)
    end_with(team, tracker)


def _become(one: object, derived: Callable[[Hashable], Any]) -> None:
    own: Any = type(one)
    if (kind := derived(own)) is not own:
        one.__dict__["_unpaid_class"] = own
        one.__class__ = kind


def _restore(one: Any) -> None:
    if (client := one.__dict__.pop("_unpaid_client", None)) is not None:
        one._model_client = client  # noqa: SLF001
    if (kind := one.__dict__.pop("_unpaid_class", None)) is not None:
        one.__class__ = kind
        del one.payers


def _everybody(target: Any) -> Iterator[Any]:
    """Return an agent or a team, and all that are in it or in its tools."""
    seen: list[Any] = []
    waiting = [target]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseChatAgent | BaseGroupChat):
            raise TypeError(
                f"A tracker attaches to agents and teams of AgentChat; got {one!r}. For a model "
                "client alone, use BudgetedChatCompletionClient."
            )
        if any(known is one for known in seen):
            continue
        seen.append(one)
        waiting.extend(_within(one))
    yield from seen


def _within(one: Any) -> Iterator[Any]:
    yield from getattr(one, "_participants", ())
    if (team := getattr(one, "_team", None)) is not None:
        yield team
    workbench = getattr(one, "_workbench", None) or ()
    for bench in workbench if isinstance(workbench, list | tuple) else (workbench,):
        for tool in getattr(bench, "_tools", ()):
            if (runner := getattr(tool, "_task_runner", None)) is not None:
                yield runner


__all__ = ["BudgetedAgent", "attach", "detach"]
