"""A library's detectors: what they find, and how long hostile texts take them."""

import subprocess
import sys

import pytest

from budget_core import AgentBudget, CallRequest, Prompt
from budget_core.session.screening.detectors import datafog

KEY = "-----BEGIN PRIVATE KEY-----\nMIIBVgIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("Call +1 415 555 2671", ["PII_PHONE"]),
        ("\ud800+49 30 901820", ["PII_PHONE"]),
        ("Authorization: Bearer abcdefghijklmnopqrstuvwxyz012345", ["SECRET_BEARER_TOKEN"]),
        ("at postgres://salt:pepper@db/kitchen", ["SECRET_CREDENTIAL_URI"]),
        (KEY, ["SECRET_PRIVATE_KEY"]),
        ("DE89370400440532013000", ["FINANCIAL_DE_IBAN"]),
        ("routing number 021000021, NPI 1234567893", ["FINANCIAL_US_ROUTING_NUMBER", "PII_NPI"]),
        ("on 2026-01-02 in 12345 Salt, from 10.1.2.3", []),
        ("", []),
    ],
)
def test_found(text, tags):
    assert datafog(text) == tags


@pytest.mark.parametrize("unit", ["a:", "::", "1234 5678-9012 ", "a@a.", "https://a:", "Bearer a"])
def test_a_hostile_text_comes_to_an_end(unit):
    assert datafog(unit * 20_000) == []


def test_sessions_tag_what_it_finds():
    session = AgentBudget("$1", on_risk="tag", risk_detectors=[datafog]).session()
    prompt = Prompt([{"role": "user", "content": "user@example.com, +1 415 555 2671"}], {})
    session.open_call(CallRequest(model="gpt-4o", prompt=prompt, output_cap=9)).settle(None)
    (_, call) = session.events()
    assert call.data["risks"] == ["PII_EMAIL", "PII_PHONE"]


def test_without_the_extra_the_error_says_what_to_install():
    script = "import sys; sys.modules['datafog_core'] = None; import budget_core.session.screening.detectors"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "budget-suite[risk]" in done.stderr
