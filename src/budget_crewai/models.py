"""Every way in which CrewAI asks a model, under whichever budget watches: wrapped once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, wraps
from threading import RLock
from typing import Any, Final

from budget_core.errors import GuardError
from budget_core.frameworks import sender_of
from budget_crewai import paying, steps, streams, tools
from budget_crewai.asking import ask

_MARK: Final = "_budgeted"
_lock = RLock()
_installed: list[bool] = []


def install() -> None:
    """Watch CrewAI for as long as the process lives; where no budget is active it changes nothing.

    Raises:
        GuardError: this version of CrewAI is not built as it is known to be.
    """
    with _lock:
        if not _installed:
            _check()
            _wrap_models()
            _wrap_instructor()
            _follow_usage()
            streams.follow()
            _installed.append(True)
        _hook()


def _check() -> None:
    from crewai.llms.base_llm import BaseLLM  # noqa: PLC0415  heavy, and only where it is used

    try:
        from crewai.hooks.dispatch import InterceptionPoint  # noqa: PLC0415
    except ImportError:
        points: set[str] = set()
    else:
        points = set(InterceptionPoint.__members__)
    methods = ("_wrap_call_method", "_track_token_usage_internal", "_emit_stream_chunk_event")
    missing = {name for name in methods if not hasattr(BaseLLM, name)}
    missing |= {"EXECUTION_START", "EXECUTION_END", "PRE_STEP", "POST_STEP"} - points
    missing |= {"PRE_TOOL_CALL", "POST_TOOL_CALL"} - points
    if missing:
        raise GuardError(
            f"This version of crewai cannot be guarded: {', '.join(sorted(missing))} is not what "
            "this version of budget-suite knows, and nothing would be enforced on its crews. Run: "
            "pip install -U 'budget-suite[crewai]'"
        )


def _hook() -> None:
    """Put the hooks in, again if they were cleared."""
    from crewai.hooks.dispatch import InterceptionPoint, get_hooks, register  # noqa: PLC0415

    hooks: dict[str, Callable[[Any], Any]] = {
        "EXECUTION_START": steps.crew_starts,
        "EXECUTION_END": steps.crew_ends,
        "PRE_STEP": steps.task_starts,
        "POST_STEP": steps.task_ends,
        "PRE_TOOL_CALL": tools.tool_starts,
        "POST_TOOL_CALL": tools.tool_ends,
    }
    for name, hook in hooks.items():
        point = InterceptionPoint[name]
        if hook not in get_hooks(point):
            register(point, hook)


def _wrap_models() -> None:
    from crewai.llms.base_llm import BaseLLM  # noqa: PLC0415

    for kind in _below(BaseLLM):
        _wrap(kind, "call")
        _wrap(kind, "acall")
    original = BaseLLM._wrap_call_method.__func__  # type: ignore[attr-defined]  # noqa: SLF001

    @wraps(original)
    def wrap_call_method(cls: type, method_name: str) -> None:
        original(cls, method_name)
        _wrap(cls, method_name)

    BaseLLM._wrap_call_method = classmethod(wrap_call_method)  # type: ignore[assignment,method-assign]  # noqa: SLF001


def _below(kind: Any) -> Iterator[type]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _below(subclass)


def _wrap(kind: type, name: str) -> None:
    method = kind.__dict__.get(name) or _mixed_in(kind, name)
    if method is None or getattr(method, _MARK, False):
        return
    wrapper = _budgeted_async(method) if name == "acall" else _budgeted(method)
    setattr(wrapper, _MARK, True)
    setattr(kind, name, wrapper)


def _mixed_in(kind: type, name: str) -> Any:
    """Return a method that a class has of another one, which is no LLM itself."""
    from crewai.llms.base_llm import BaseLLM  # noqa: PLC0415

    home = next((base for base in kind.__mro__ if name in base.__dict__), None)
    return None if home is None or issubclass(home, BaseLLM) else home.__dict__[name]


def _budgeted(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        asked = ask(self, args, kwargs)
        if asked is None:
            return method(self, *args, **kwargs)
        return paying.pay(asked, partial(method, self), _sender(self))

    return call


def _budgeted_async(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
        asked = ask(self, args, kwargs)
        if asked is None:
            return await method(self, *args, **kwargs)
        return await paying.pay_async(asked, partial(method, self), _sender(self))

    return acall


def _sender(llm: Any) -> str | None:
    from crewai.llms.base_llm import BaseLLM  # noqa: PLC0415

    return sender_of(llm, BaseLLM, "call", "acall")


def _wrap_instructor() -> None:
    """Pay for structured outputs that CrewAI asks of an SDK itself, past its own LLMs."""
    from crewai.utilities.internal_instructor import InternalInstructor  # noqa: PLC0415

    original: Callable[[Any], Any] = InternalInstructor.to_pydantic

    @wraps(original)
    def to_pydantic(self: Any) -> Any:
        messages = [{"role": "user", "content": self.content}]
        asked = ask(self.llm, [messages], {"response_model": self.model})
        if asked is None:
            return original(self)
        return paying.pay(asked, lambda *_args, **_kwargs: original(self))

    InternalInstructor.to_pydantic = to_pydantic  # type: ignore[method-assign]


def _follow_usage() -> None:
    from crewai.llms.base_llm import BaseLLM  # noqa: PLC0415

    track, emit = BaseLLM._track_token_usage_internal, BaseLLM._emit_stream_chunk_event  # noqa: SLF001

    @wraps(track)
    def tracked(self: Any, usage_data: dict[str, Any]) -> None:
        paying.track_usage(usage_data)
        track(self, usage_data)

    @wraps(emit)
    def emitted(self: Any, chunk: str, *args: Any, **kwargs: Any) -> None:
        paying.hear(chunk)
        emit(self, chunk, *args, **kwargs)

    BaseLLM._track_token_usage_internal = tracked  # type: ignore[method-assign]  # noqa: SLF001
    BaseLLM._emit_stream_chunk_event = emitted  # type: ignore[method-assign]  # noqa: SLF001
