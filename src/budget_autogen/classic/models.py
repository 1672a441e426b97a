"""What an agent asks its models with: the same `OpenAIWrapper`, whose clients ask for money first.

A model client's ``create`` is called for what no cache has, with the final parameters, once for
each configuration that is tried.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from autogen.oai.client import OpenAIClient, OpenAIWrapper, PlaceHolderClient

from budget_autogen.classic.paying import paying
from budget_autogen.classic.requests import Params, capped, model_request, without_tools
from budget_core.calls import context
from budget_core.calls.responses import met_cap, read_receipt
from budget_core.calls.usages import read_usage
from budget_core.frameworks import ending, finish, repeated_sync, whole
from budget_core.frameworks.outcomes import unsent
from budget_core.runtime.signals import pass_on
from budget_core.sdk.installing import is_guarded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budget_autogen.paying import Payers
    from budget_core import Call

_SDKS: Final = {
    "autogen.oai.client": "openai",
    "autogen.oai.openai_responses": "openai",
    "autogen.llm_clients.openai_completions_client": "openai",
    "autogen.llm_clients.openai_responses_v2": "openai",
    "autogen.oai.anthropic": "anthropic",
    "autogen.llm_clients.anthropic_v2": "anthropic",
    "autogen.oai.gemini": "google.genai",
}
"""Which SDK the clients of a module call."""


class GuardedClient:
    """A model client whose calls are held before they are made, and settled afterwards."""

    def __init__(self, inner: Any, payers: Payers) -> None:
        self._inner = inner
        self._payers = payers

    def create(self, params: Params) -> Any:
        """Ask the model, within the budget.

        Raises:
            BudgetExhausted, LoopDetected, UnknownModel, Unbounded: it was not asked.
        """
        payers = self._payers
        if not payers.trackers:  # detached meanwhile
            return self._inner.create(params)
        payers.guard()
        mine = (payers.session, *payers.joining)
        final = next((session for session in mine if session in context.finalizing()), None)
        if final is not None:
            params = without_tools(params)

        sdk = _SDKS.get(type(self._inner).__module__)

        def ask() -> Any:
            request = model_request(params, payers.agent, payers.agent_id)
            call = (final or payers.session).open_call(request, joining=mine)
            with ending(call, sdk=sdk):
                return self._settled(params, call, guarded=sdk is not None and is_guarded(sdk))

        with paying(payers):
            return ask() if final is not None else repeated_sync(ask)

    def _settled(self, params: Params, call: Call, *, guarded: bool) -> Any:
        inner = self._inner
        if not guarded:
            with unsent(call):
                params = capped(params, call, inner)
            call.wired = isinstance(inner, OpenAIClient)
        response = inner.create(params)
        _conclude(call, inner, response)
        if not call.truncated:
            return response
        said = inner.message_retrieval(response)
        text = all(isinstance(one, str) for one in said) and not params.get("response_format")
        return whole(call, response, text=text)

    def __getattr__(self, name: str) -> Any:
        if name == "_inner":  # while it is copied
            raise AttributeError(name)
        return getattr(self._inner, name)

    def __repr__(self) -> str:
        return f"<GuardedClient {self._inner!r}>"


class GuardedWrapper(OpenAIWrapper):
    """Another face of a wrapper, for one agent: the same state, but the clients are guarded.

    Attributes:
        raw: the wrapper itself, which others may share.
    """

    __slots__ = ("_guarded", "_payers", "raw")
    raw: OpenAIWrapper
    _payers: Payers
    _guarded: dict[int, GuardedClient]

    @property
    def _clients(self) -> list[Any]:  # type: ignore[override]
        return [self._guard(client) for client in self.raw._clients]  # noqa: SLF001

    def register_model_client(self, model_client_cls: Any, **kwargs: Any) -> None:
        self.raw.register_model_client(model_client_cls, **kwargs)

    def _guard(self, client: Any) -> Any:
        if isinstance(client, PlaceHolderClient):
            return client
        if (guarded := self._guarded.get(id(client))) is None:
            guarded = self._guarded[id(client)] = GuardedClient(client, self._payers)
        return guarded


def guarded(wrapper: Any, payers: Payers) -> Any:
    """Return what an agent uses in place of a wrapper, of which it is an instance as well."""
    if isinstance(wrapper, GuardedWrapper) or not isinstance(wrapper, OpenAIWrapper):
        return wrapper
    kind: Any = type(wrapper)
    twin: GuardedWrapper = object.__new__(_face_of(kind))
    twin.__dict__ = wrapper.__dict__  # what is counted or stored here is counted there
    twin.raw, twin._payers, twin._guarded = wrapper, payers, {}  # noqa: SLF001
    return twin


@cache
def _face_of(kind: type[OpenAIWrapper]) -> type[GuardedWrapper]:
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (GuardedWrapper, kind), names)


def _conclude(call: Call, client: Any, response: Any) -> None:
    """Charge an answer as it says itself, else as its client says, else by what it shows."""
    receipt = read_receipt(response)
    if call.limited:
        receipt = receipt._replace(cut=met_cap(response))
    try:
        if receipt.usage is None:
            receipt = receipt._replace(usage=read_usage(client.get_usage(response)))
        finish(call, receipt, _shown(client, response))
    except Exception as error:  # noqa: BLE001  whatever a stranger's client may raise
        pass_on(error)
        call.finish(receipt)


def _shown(client: Any, response: Any) -> Iterator[str]:
    for message in client.message_retrieval(response):
        yield message if isinstance(message, str) else str(message)
