"""The budget that watches a crew, as calls and tools see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from budget_core.frameworks import AgentIntegration

if TYPE_CHECKING:
    from budget_core import BudgetSession
    from budget_crewai.units import Units


class Payer(AgentIntegration):
    """Whose money the calls of a crew are.

    Attributes:
        units: the tasks and lone agents that spend it.
    """

    units: Units

    @property
    def entered(self) -> bool:
        """A block of it has begun and not ended, here or elsewhere."""
        raise NotImplementedError

    def limit_of(self, agent: Any) -> BudgetSession | None:
        """Return the session of an agent that has a limit of its own, by its role.

        A role may be given as it is, or as it was before a crew's inputs were filled in.
        """
        for role in (role_of(agent), getattr(agent, "_original_role", None)):
            if (limit := self.agents.get((role or "").strip())) is not None:
                return limit
        return None

    def limits_of(self, agent: Any, task: Any) -> tuple[BudgetSession, ...]:
        """Return the sessions of an agent and of a task that have limits of their own."""
        limits = (self.limit_of(agent), self.units.limit_of(task))
        return tuple(limit for limit in limits if limit is not None)


def role_of(agent: Any) -> str | None:
    role = getattr(agent, "role", None)
    return role.strip() if isinstance(role, str) and role.strip() else None
