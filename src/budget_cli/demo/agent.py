"""The agent: LangGraph, two tools, one question. Nothing in here knows of budgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from langchain.agents import create_agent
from langchain_core.tools import BaseTool, tool
from langchain_openai import ChatOpenAI

from budget_cli.demo.documents import Library

QUESTION: Final = (
    "Should Ellenport convert the Skarn ferry to battery drive, and what would it cost?"
)
INSTRUCTIONS: Final = (
    "You are a thorough research assistant. Search the documents, read those that matter, and "
    "check every figure against a second source before you answer. Name your sources."
)


def research_agent(
    model: str, library: Library, *, middleware: Sequence[Any] = (), **client: Any
) -> Any:
    return create_agent(
        ChatOpenAI(model=model, **client),
        tools=tools_of(library),
        system_prompt=INSTRUCTIONS,
        middleware=list(middleware),
    )


def tools_of(library: Library) -> list[BaseTool]:
    @tool
    def search_documents(query: str) -> str:
        """Search all documents; returns names, titles and passages of the best three."""
        return library.search(query)

    @tool
    def read_document(name: str) -> str:
        """Read one document in full, by its file name."""
        return library.read(name)

    return [search_documents, read_document]
