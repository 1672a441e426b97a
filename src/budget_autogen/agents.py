"""Agents of whichever AutoGen is meant: told by the arguments, else by what is installed."""

from __future__ import annotations

import types
from abc import ABCMeta
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

_AGENTCHAT: Final = frozenset(
    {
        "model_client", "input_func", "tools", "workbench", "handoffs", "memory", "metadata",
        "model_context", "model_client_stream", "reflect_on_tool_use", "max_tool_iterations",
        "tool_call_summary_format", "tool_call_summary_formatter", "output_content_type",
        "output_content_type_format",
    }
)  # fmt: skip
_CLASSIC: Final = frozenset({"llm_config", "human_input_mode", "code_execution_config"})
_INSTALLED: Final = {"classic": "autogen", "agentchat": "autogen_agentchat"}


class Either(metaclass=ABCMeta):  # noqa: B024  so that its agents can be registered
    """Makes an agent of the AutoGen that its arguments belong to; subclasses do so as well."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        home = _home(cls, args, kwargs)
        if cls in Either.__subclasses__():
            return home(*args, **kwargs)
        return object.__new__(_joined(cls, home))  # of a subclass, so its __init__ is called


class BudgetedAssistantAgent(Either):
    """An assistant with a budget, of AgentChat or of classic AutoGen.

    >>> assistant = BudgetedAssistantAgent(name="assistant", budget="$5.00")

    With ``model_client=`` it is one of AgentChat, with ``llm_config=`` one of classic AutoGen, with
    neither one of whichever is installed, classic first; its model is then the one of OpenAI that
    OPENAI_MODEL names, else gpt-4o-mini.

    Args:
        name: of the agent.
        budget: "$5.00", 5, a `Limit`, or an `AgentBudget`.
        **options: what the agent takes in its AutoGen, and what `AutoGenBudgetTracker` takes;
            ``session=`` shares a session, ``tracker=`` a tracker.

    Raises:
        ImportError: that AutoGen is not installed.
    """


class BudgetedUserProxyAgent(Either):
    """A user proxy with a budget, of AgentChat or of classic AutoGen, that asks no human.

    >>> user = BudgetedUserProxyAgent(name="user", budget="$5.00")
    >>> result = user.initiate_chat(assistant, message="What is 2 + 2?")

    With ``input_func=`` it is one of AgentChat, with ``llm_config=``, ``human_input_mode=`` or
    ``code_execution_config=`` one of classic AutoGen, with none one of whichever is installed,
    classic first. By default it asks no human, runs no code, and ends a chat that has its answer.

    Args:
        name: of the agent.
        budget: "$5.00", 5, a `Limit`, or an `AgentBudget`.
        **options: what the agent takes in its AutoGen, and what `AutoGenBudgetTracker` takes.

    Raises:
        ImportError: that AutoGen is not installed.
    """


def _home(cls: ABCMeta, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    lineage = _lineage(args, kwargs)
    kind: Any = next(base for base in cls.__mro__ if Either in base.__bases__)
    if find_spec(_INSTALLED[lineage]) is None:
        raise ImportError(
            f"budget_autogen.{kind.__name__} needs {_INSTALLED[lineage]} here: "
            "pip install 'budget-suite[autogen]'"
        )
    home = getattr(import_module(f"budget_autogen.{lineage}"), kind.__name__)
    kind.register(home)  # so that isinstance() holds
    return home


def _lineage(args: tuple[Any, ...], kwargs: Iterable[str]) -> str:
    names = frozenset(kwargs)
    client = any(hasattr(type(arg), "create_stream") for arg in args)
    if client or names & _AGENTCHAT:
        return "agentchat"
    installed = find_spec("autogen") is not None or find_spec("autogen_agentchat") is None
    return "classic" if names & _CLASSIC or installed else "agentchat"


@cache
def _joined(cls: Any, home: Any) -> Any:
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return types.new_class(cls.__name__, (cls, home), {}, lambda space: space.update(names))
