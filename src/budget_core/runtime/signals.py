"""What a signal's handler raises is the program's: no isolation of ours may keep it."""

from __future__ import annotations

import signal
import threading
from functools import partial
from types import CodeType
from typing import Any


def pass_on(error: Exception) -> None:
    """Raise an error again that the handler of a signal raised, in the middle of something else.

    For all that logs or hides what callbacks, plugins and foreign objects raise: a time limit
    (Celery's, an alarm's) is an `Exception` like theirs.
    """
    if is_from_signal(error):
        raise error


def is_from_signal(error: BaseException) -> bool:
    """Return whether the handler of a signal raised this."""
    if threading.current_thread() is not threading.main_thread():
        return False
    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    trace = error.__traceback__
    while handlers and trace is not None:
        if trace.tb_frame.f_code in handlers:
            return True
        trace = trace.tb_next
    return False


def _code(handler: Any) -> CodeType | None:
    while isinstance(handler, partial):
        handler = handler.func
    for each in (handler, getattr(handler, "__call__", None)):  # noqa: B004  an object's
        if isinstance(code := getattr(each, "__code__", None), CodeType):
            return code
    return None
