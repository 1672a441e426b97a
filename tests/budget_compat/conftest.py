import inspect
import re
import textwrap
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT

import pytest

from budget_core.money.prices import lookup, registry
from budget_core.testing import Reply

HELLO = [{"role": "user", "content": "Hello"}]
FILLED = 'model="gpt-4o", messages=HELLO'


def _with_our_import(snippet):
    """The one line that somebody who migrates changes, and what a document leaves out."""
    code = textwrap.dedent(snippet)
    for name in ("agentbudget", "agent_budget_guard", "agentwatch", "quotawatch"):
        ours = f"budget_compat.{name}"
        code = re.sub(rf"^import {name}$", f"import {ours} as {name}", code, flags=re.MULTILINE)
        code = re.sub(rf"^from {name}\b", f"from {ours}", code, flags=re.MULTILINE)
    code = re.sub(r"(?<=create\()(\s*)(stream=True, )?\.\.\.(\s*)(?=\))", rf"\1\2{FILLED}\3", code)
    return code.replace(".acreate(", ".create(")  # which no SDK has


def _compiled(snippet):
    return compile(_with_our_import(snippet), "documentation", "exec", PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.fixture
def with_our_import():
    return _with_our_import


@pytest.fixture
def run(provider, monkeypatch):
    """Run a snippet of a document, with what it takes for granted; return its names."""
    provider.default = Reply("Salt is salt.", output_tokens=40)
    monkeypatch.setenv("OPENAI_BASE_URL", provider.openai_url)
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.anthropic_url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def run(snippet, **names):
        names.update(HELLO=HELLO, __name__="documentation")
        exec(_compiled(snippet), names)  # noqa: S102
        return names

    yield run
    registry.clear()
    lookup.forget()


@pytest.fixture
def arun(run):
    """Do the same with a snippet that awaits at its top level."""

    async def arun(snippet, **names):
        names.update(HELLO=HELLO, __name__="documentation")
        coroutine = eval(_compiled(snippet), names)  # noqa: S307
        if inspect.isawaitable(coroutine):
            await coroutine
        return names

    return arun
