"""The model of an agent that was given none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from budget_autogen.defaults import default_model

if TYPE_CHECKING:
    from autogen_core.models import ChatCompletionClient


def default_client() -> ChatCompletionClient:
    """Return a client of OpenAI, with the key and the address that its SDK finds.

    Raises:
        ImportError: AutoGen's extension for OpenAI is not installed.
        ValueError: there is no key.
    """
    try:
        from autogen_ext.models.openai import OpenAIChatCompletionClient  # noqa: PLC0415  an extra
    except ImportError as error:
        raise ImportError(
            "An agent without model_client= uses OpenAI, which needs autogen-ext: "
            "pip install 'budget-suite[autogen]'"
        ) from error
    if not os.environ.get("OPENAI_API_KEY"):
        raise ValueError("An agent without model_client= uses OpenAI: set OPENAI_API_KEY.")
    return OpenAIChatCompletionClient(model=default_model())
