"""What an attached agent does differently: it pays before it acts, and knows when to be silent."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

from autogen import ConversableAgent

from budget_autogen.classic.attaching import guards, inviting, share, share_manager
from budget_autogen.classic.last_word import (
    begin,
    end,
    is_over,
    is_silent,
    last_word,
    noting_refusal,
    say,
)
from budget_autogen.classic.models import guarded
from budget_autogen.classic.paying import Asker, ChatPayers, Reply, payers_of, paying, replying
from budget_autogen.classic.tools import tool_request, unaffordable
from budget_core import BudgetExhausted
from budget_core.errors import SessionFinalized
from budget_core.frameworks import LastWord, spoken, spoken_sync
from budget_core.runtime.background import asked

T = TypeVar("T")


@guards(ConversableAgent)
class GuardedAgent(ConversableAgent):
    """Comes before an agent's own class once it is attached."""

    _budget_payers: ChatPayers
    _budget_answered: Any = None
    """To whom the last word was said."""

    def _budget_mind(self, *, wanted: bool = True) -> None:
        """Ask models in threads that know who pays, or as AutoGen does again."""
        ours, theirs = GuardedAgent.a_generate_oai_reply, ConversableAgent.a_generate_oai_reply
        before, after = (theirs, ours) if wanted else (ours, theirs)
        self.replace_reply_func(before, after)

    @property
    def client(self) -> Any:
        raw, face = self.__dict__.get("client"), self.__dict__.get("_budget_face")
        if getattr(face, "raw", face) is not raw:
            face = self.__dict__["_budget_face"] = guarded(raw, self._budget_payers)
        return face

    @client.setter
    def client(self, wrapper: Any) -> None:
        self.__dict__["client"] = getattr(wrapper, "raw", wrapper)

    # -- replies -----------------------------------------------------------------------------

    def generate_reply(self, messages: Any = None, sender: Any = None, exclude: Any = ()) -> Any:
        """Reply within the budget; at its limit, do as `on_exhausted` says, and then be silent."""
        if self._is_over(sender):
            return None
        reply_as_ever = super().generate_reply
        with (
            replying(self, self._budget_payers, self._asker(messages, sender)) as reply,
            self._inviting(self),
        ):

            def ask(word: LastWord | None) -> Any:
                if word is not None:
                    return say(reply, word, self._heard(messages, sender), sender)
                with self._silenced(reply):
                    return reply_as_ever(messages, sender, exclude)

            said = spoken_sync(ask, partial(last_word, reply, self._budget_payers))
        return self._at_last(reply, said, sender)

    async def a_generate_reply(
        self, messages: Any = None, sender: Any = None, exclude: Any = ()
    ) -> Any:
        """Async version of `generate_reply`."""
        if await asked(partial(self._is_over, sender), blocks=self._budget_payers.blocks):
            return None
        reply_as_ever = super().a_generate_reply
        with (
            replying(self, self._budget_payers, self._asker(messages, sender)) as reply,
            self._inviting(self),
        ):

            async def ask(word: LastWord | None) -> Any:
                if word is not None:
                    return await _in_thread(say, reply, word, self._heard(messages, sender), sender)
                with self._silenced(reply):
                    return await reply_as_ever(messages, sender, exclude)

            said = await spoken(ask, partial(last_word, reply, self._budget_payers))
        return self._at_last(reply, said, sender)

    async def a_generate_oai_reply(
        self, messages: Any = None, sender: Any = None, config: Any = None, **kwargs: Any
    ) -> Any:
        return await _in_thread(self.generate_oai_reply, messages, sender, config, **kwargs)

    def _generate_oai_reply_from_client(
        self, llm_client: Any, messages: Any, cache: Any, **kwargs: Any
    ) -> Any:
        client = guarded(llm_client, self._budget_payers)
        with noting_refusal(self, messages):
            return super()._generate_oai_reply_from_client(client, messages, cache, **kwargs)

    def run_input_guardrails(self, messages: Any = None) -> Any:
        with paying(self._budget_payers):
            return super().run_input_guardrails(messages)

    def run_output_guardrails(self, reply: Any) -> Any:
        with paying(self._budget_payers):
            return super().run_output_guardrails(reply)

    # -- chats -------------------------------------------------------------------------------

    def initiate_chat(self, recipient: Any, *args: Any, **kwargs: Any) -> Any:
        """Lead a chat, and pay in it for those that have no other payer."""
        with self._leading(recipient):
            return super().initiate_chat(recipient, *args, **kwargs)

    async def a_initiate_chat(self, recipient: Any, *args: Any, **kwargs: Any) -> Any:
        """Async version of `initiate_chat`."""
        with self._leading(recipient):
            return await super().a_initiate_chat(recipient, *args, **kwargs)

    def send(
        self, message: Any, recipient: Any, request_reply: Any = None, silent: Any = False
    ) -> None:
        """Send a message; after the last word no reply is wanted."""
        wanted = False if is_over(self._budget_payers) else request_reply
        super().send(message, recipient, wanted, silent)

    async def a_send(
        self, message: Any, recipient: Any, request_reply: Any = None, silent: Any = False
    ) -> None:
        """Async version of `send`."""
        payers = self._budget_payers
        over = await asked(partial(is_over, payers), blocks=payers.blocks)
        wanted = False if over else request_reply
        await super().a_send(message, recipient, wanted, silent)

    async def a_receive(
        self, message: Any, sender: Any, request_reply: Any = None, silent: Any = False
    ) -> None:
        """Receive a message; after the last word, none that goes on with what it ended."""
        payers = self._budget_payers
        if self._budget_answered is sender:
            if await asked(partial(is_over, payers), blocks=payers.blocks):
                return
            self._budget_answered = None  # more was approved since: nobody is to ask again
        await super().a_receive(message, sender, request_reply, silent)

    def _process_received_message(self, message: Any, sender: Any, silent: bool) -> None:
        """Let nothing come after the last word in the conversation that it ends."""
        if self._budget_answered is not sender or not is_over(self._budget_payers):
            super()._process_received_message(message, sender, silent)

    def _prepare_chat(self, recipient: Any, *args: Any, **kwargs: Any) -> None:
        if self._budget_payers.speaks:
            begin(self._budget_payers)
        self._budget_answered = None
        super()._prepare_chat(recipient, *args, **kwargs)

    def _summarize_chat(
        self, summary_method: Any, summary_args: Any, recipient: Any = None, cache: Any = None
    ) -> str:
        if summary_method == "reflection_with_llm" and (
            is_over(self._budget_payers) or is_over(payers_of(recipient))
        ):
            summary_method = "last_msg"
        return super()._summarize_chat(summary_method, summary_args, recipient, cache)

    @contextmanager
    def _create_or_get_executor(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with super()._create_or_get_executor(*args, **kwargs) as executor:
            share(self._budget_payers.own, executor)
            yield executor

    @property
    def _group_manager(self) -> Any:
        try:
            return self.__dict__["_group_manager"]
        except KeyError as missing:
            raise AttributeError("_group_manager") from missing

    @_group_manager.setter
    def _group_manager(self, manager: Any) -> None:
        self.__dict__["_group_manager"] = manager
        if payers_of(manager) is None:
            share_manager(self._budget_payers.own, manager)

    # -- tools -------------------------------------------------------------------------------

    def execute_function(self, func_call: Any, *args: Any, **kwargs: Any) -> Any:
        """Hold what a tool costs, and run it; the model is told of one that is refused."""
        request = tool_request(self, self._budget_payers, func_call)
        if request is None:
            return super().execute_function(func_call, *args, **kwargs)
        try:
            call = self._budget_payers.session.open_call(
                request, joining=self._budget_payers.joining
            )
        except BudgetExhausted as error:
            return unaffordable(self._budget_payers, func_call, error)
        with call:
            return super().execute_function(func_call, *args, **kwargs)

    async def a_execute_function(self, func_call: Any, *args: Any, **kwargs: Any) -> Any:
        """Async version of `execute_function`."""
        request = tool_request(self, self._budget_payers, func_call)
        if request is None:
            return await super().a_execute_function(func_call, *args, **kwargs)
        try:
            joining = self._budget_payers.joining
            call = await self._budget_payers.session.open_call_async(request, joining=joining)
        except BudgetExhausted as error:
            return unaffordable(self._budget_payers, func_call, error)
        with call:
            return await super().a_execute_function(func_call, *args, **kwargs)

    def _run_async_in_thread(self, coro: Any) -> Any:
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(context.run, asyncio.run, coro).result()

    # -- inside ------------------------------------------------------------------------------

    def _is_over(self, sender: Any) -> bool:
        chatting = sender is not None
        return is_over(self._budget_payers, chatting=chatting) or is_over(payers_of(sender))

    def _heard(self, messages: Any, sender: Any) -> Any:
        return self._oai_messages[sender] if messages is None else messages

    def _asker(self, messages: Any, sender: Any) -> Asker:
        """Return who is replied to: in a group the sender is its manager, and a name says who."""
        said = [message for message in self._heard(messages, sender)[-1:] if type(message) is dict]
        return sender, said[0].get("name") if said else None

    @contextmanager
    def _silenced(self, reply: Reply) -> Iterator[None]:
        """Say nothing in place of a reply that comes after another agent's last word."""
        try:
            yield
        except SessionFinalized:
            if not is_silent(self._budget_payers):
                raise
            reply.ended = self._budget_payers.session

    def _at_last(self, reply: Reply, said: Any, sender: Any) -> Any:
        if reply.ended is not None and sender is not None:
            end(reply.ended)
            self._budget_answered = None if said is None else sender
        return said

    @contextmanager
    def _leading(self, chat: Any) -> Iterator[None]:
        with paying(self._budget_payers, leading=True), self._inviting(chat):
            yield

    def _inviting(self, chat: Any) -> AbstractContextManager[None]:
        return inviting(chat) if self._budget_payers.trackers else nullcontext()


async def _in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run in a worker thread that has this context."""
    run = partial(contextvars.copy_context().run, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(None, run)
