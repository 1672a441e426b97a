"""What `budget_core` finds: agents join `init` and ``budget run`` once a program imports them."""

from budget_core.frameworks import join
from budget_core.hooks import DropinRequest, hookimpl


@hookimpl
def budget_dropin(request: DropinRequest) -> object:
    """Watch the session of `request`."""
    return join(
        request, framework="pydantic_ai", adapter="budget_pydantic_ai.adapter:PydanticAIBudget"
    )
