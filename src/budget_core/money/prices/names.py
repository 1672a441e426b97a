"""Names of models: the forms under which the same model may be known, the likeliest first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ALIASES: Final = {
    "claude-sonnet-3-5-v2": "claude-sonnet-3-5",
    "computer-use-preview": "computer-use",
    "gemini-1.5-flash-8b": "gemini-flash-1.5-8b",
    "gemini-2.0-flash-exp": "gemini-2.0-flash",
    "gemini-2.5-flash-lite-preview-09-2025": "gemini-2.5-flash-lite",
    "gemini-2.5-pro-preview-03-25": "gemini-2.5-pro",
    "gemini-2.5-pro-preview-05-06": "gemini-2.5-pro",
    "gemini-2.5-pro-preview-06-05": "gemini-2.5-pro",
    "gemini-3-flash": "gemini-3-flash-preview",
    "gemini-3-pro": "gemini-3-pro-preview",
    "gemini-3.1-pro": "gemini-3.1-pro-preview",
    "magistral-medium-2507": "magistral-medium",
    "magistral-small-2507": "magistral-small",
}
"""Names in use whose model the price data has under another one; both are `canonical`."""


def canonical(name: str) -> str:
    """Return a name as tables are keyed: lower case, Claude's version last and with a dash.

    >>> canonical("Claude-3.5-Sonnet"), canonical("GPT-4.1")
    ('claude-sonnet-3-5', 'gpt-4.1')
    """
    name = name.strip().lower()
    if "claude" in name:
        name = _CLAUDE_DOT.sub("-", name)
        name = _CLAUDE_ORDER.sub(r"claude-\2-\1", name)
    return name


def candidates(name: str) -> Iterator[str]:
    """Yield the names under which to look for `name`, each once.

    First the name itself, then its alias, then without its date, then all of that with the
    provider's prefix stripped. Nothing else is ever cut off: a longer name is another model.

    >>> list(candidates("openai/gpt-4o-2025-06-15"))
    ['openai/gpt-4o-2025-06-15', 'openai/gpt-4o', 'gpt-4o-2025-06-15', 'gpt-4o']
    """
    seen = set()
    for stage in _stages(canonical(name)):
        for form in _forms(stage):
            if form not in seen:
                seen.add(form)
                yield form


def prefixes(name: str) -> Iterator[tuple[str, str]]:
    """Yield ``(prefix, rest)`` for each provider prefix that `name` may carry, outermost first.

    >>> list(prefixes("openrouter/openai/gpt-4o"))
    [('openrouter', 'openai/gpt-4o'), ('openai', 'gpt-4o')]
    """
    rest = canonical(name)
    while "/" in rest:
        prefix, _, rest = rest.partition("/")
        yield prefix, rest
    if _BEDROCK.fullmatch(rest):
        yield "bedrock", rest


def undated(name: str) -> str:
    """Return `name` without a date, a numbered revision or ``-latest`` at its end.

    >>> undated("claude-haiku-4-5@20251001"), undated("mistral-large-2402")
    ('claude-haiku-4-5', 'mistral-large-2402')
    """
    return _DATE.sub("", name)


def unversioned(name: str) -> str:
    """Return a Bedrock id without its version: ``-v1:0``, ``:0``."""
    return _BEDROCK_VERSION.sub("", name)


def _stages(name: str) -> Iterator[str]:
    yield name
    while "/" in name:
        name = name.partition("/")[2]
        yield name
    if name.startswith("ft:"):
        yield ":".join(name.split(":")[:2])  # ft:<base>:<organisation>:<name>:<id>
    elif found := _BEDROCK.fullmatch(name):
        yield from _bedrock(found)


def _bedrock(found: re.Match[str]) -> Iterator[str]:
    region, vendor, model = found["region"], found["vendor"], unversioned(found["model"])
    scopes = ("global.", "regional.", "") if region == "global." else ("regional.", "")
    yield from (f"{scope}{vendor}.{model}" for scope in scopes)
    yield model


def _forms(name: str) -> Iterator[str]:
    for form in (name, undated(name)):
        yield form
        if form in ALIASES:
            yield ALIASES[form]


_CLAUDE_DOT = re.compile(r"(?<=\d)\.(?=\d)")
_CLAUDE_ORDER = re.compile(r"claude-(\d(?:-\d)?)-(opus|sonnet|haiku)(?![a-z])")
_DATE = re.compile(
    r"(?:"
    r"-latest|@latest|@default"
    r"|[-@]20\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])"  # -2025-06-15, @20250929
    r"|-(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"  # -0613; but 2402 is a year, and another price
    r"|-00\d"
    r")$"
)
_BEDROCK_VERSION = re.compile(r"-v\d+(?::\d+)?$|:\d+$")
_BEDROCK = re.compile(
    r"(?P<region>(?:us|us-gov|eu|apac|au|ca|in|jp|sa|global|regional)\.)?"
    r"(?P<vendor>ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshotai"
    r"|nvidia|openai|qwen|writer|zai)\.(?P<model>.+)"
)
