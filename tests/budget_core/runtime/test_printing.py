import json
import logging
import sys
import unicodedata

import pytest

from budget_core import AgentBudget, BudgetExhausted
from budget_core.events.logs import LogListener
from budget_core.runtime.printing import printable, printable_json

KEPT = "\u200c\u200d"  # joiners: words of some languages, and emoji, are made with them
OBEYED = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) in {"Cc", "Zl", "Zp", "Cs"}
    or unicodedata.bidirectional(chr(code))
    in {"LRE", "LRO", "RLE", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
] + ["\u200e", "\u200f", "\u061c", "\u200b", "\ufeff", "\xad", "\u2060", "\U000e0041"]


def test_whatever_a_terminal_obeys_is_written_out():
    shown = printable("".join(OBEYED))
    assert shown.isascii()
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;mine\x07", r"\x1b]0;mine\x07"),
        ("a\nb", r"a\nb"),
        ("\x9b2J", r"\x9b2J"),
        ("\u202egpj", r"\u202egpj"),
        ("\ud83d", r"\ud83d"),
        ("Ünïcode, 漢字, עברית and \U0001f469\u200d\U0001f680", None),
    ],
)
def test_the_rest_stays(text, shown):
    assert printable(text) == (text if shown is None else shown)
    assert printable(printable(text)) == printable(text)


def test_lines_may_be_kept():
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_json_says_what_it_said():
    data = {" ".join(OBEYED): ["é", KEPT, "\U000e0041", "\\u202e"]}
    for indent in (None, 2):
        shown = printable_json(json.dumps(data, ensure_ascii=False, indent=indent))
        assert json.loads(shown) == data
        assert not set(shown) & (set(OBEYED) - {"\n"})
        assert "é" in shown


def test_errors_and_logs_are_shown_as_they_are(caplog):
    evil = "\x1b[2Jtool\n\u202e"
    with (
        caplog.at_level(logging.DEBUG, "budget_core.events"),
        AgentBudget("$1", listeners=[LogListener()]).session(f"s{evil}") as session,
        pytest.raises(BudgetExhausted) as refused,
    ):
        session.track(cost=2, tool_name=evil)
    assert str(refused.value).isprintable()
    assert caplog.messages
    assert all(message.isprintable() for message in caplog.messages)
