"""A chat of two as classic AutoGen has it: a user's message, and the assistant's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import cache
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, TypeVar

from autogen_agentchat.messages import BaseChatMessage, StructuredMessage, TextMessage
from autogen_core import CancellationToken

from budget_core.runtime.background import in_event_loop

if TYPE_CHECKING:
    from autogen_agentchat.base import ChatAgent

T = TypeVar("T")
MAX_TURNS: Final = 10


@dataclass
class ChatResult:
    """What a chat came to, under the names that classic AutoGen uses.

    Attributes:
        chat_history: the messages: dicts of name, role and content.
        summary: the last of them.
        cost: dollars spent, by the assistant's name.
    """

    chat_history: list[dict[str, Any]]
    summary: str
    cost: dict[str, float] = field(default_factory=dict)


class TwoAgentChat:
    """Lets a user proxy begin a chat."""

    name: str

    def initiate_chat(
        self,
        recipient: ChatAgent,
        message: str,
        *,
        max_turns: int = MAX_TURNS,
        clear_history: bool = True,
    ) -> ChatResult:
        """Send a message and return what came of it; blocks until the assistant has answered.

        Args:
            recipient: who answers; it calls its own tools.
            message: what the user says.
            max_turns: the most turns that the assistant takes for its answer.
            clear_history: let it forget what was said before.

        Raises:
            RuntimeError: an event loop runs in this thread: await `a_initiate_chat`.
            BudgetExhausted: as the assistant's run does.
        """
        if in_event_loop():
            raise RuntimeError(
                "initiate_chat() would block the event loop that runs here: "
                "await a_initiate_chat() instead."
            )
        chat = self.a_initiate_chat(
            recipient, message, max_turns=max_turns, clear_history=clear_history
        )
        return wait_for(chat)

    async def a_initiate_chat(
        self,
        recipient: ChatAgent,
        message: str,
        *,
        max_turns: int = MAX_TURNS,
        clear_history: bool = True,
        cancellation_token: CancellationToken | None = None,
    ) -> ChatResult:
        """Async version of `initiate_chat`."""
        token = cancellation_token or CancellationToken()
        if clear_history:
            await recipient.on_reset(token)
        session = getattr(recipient, "session", None)
        before = session.spent if session is not None else 0.0
        messages: list[Any] = []
        task: TextMessage | None = TextMessage(content=message, source=self.name)
        while max_turns and not _answered(messages):
            result = await recipient.run(task=task, cancellation_token=token)
            messages += result.messages
            task, max_turns = None, max_turns - 1
        spent = session.spent - before if session is not None else 0.0
        return _result(messages, {recipient.name: spent})


def _answered(messages: list[Any]) -> bool:
    """Return whether the last message is an answer, not what a tool returned or a handoff."""
    return bool(messages) and isinstance(messages[-1], TextMessage | StructuredMessage)


def _result(messages: list[Any], cost: dict[str, float]) -> ChatResult:
    said = [message for message in messages if isinstance(message, BaseChatMessage)]
    history = [
        {
            "name": message.source,
            "role": "user" if at == 0 else "assistant",
            "content": message.to_model_text(),
        }
        for at, message in enumerate(said)
    ]
    return ChatResult(history, history[-1]["content"], cost)


def wait_for(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, in a loop that lives as long as the process.

    A loop of its own each time would leave the connections of model clients in a dead one.
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="budget-autogen", daemon=True).start()
    return loop
