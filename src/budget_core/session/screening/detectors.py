"""Detectors of a library, for `risk_detectors=`. Needs ``pip install 'budget-suite[risk]'``.

>>> from budget_core import AgentBudget
>>> budget = AgentBudget("$5", on_risk="tag", risk_detectors=[datafog])
"""

from __future__ import annotations

from typing import Final

try:
    import datafog_core
except ModuleNotFoundError as _error:
    raise ImportError(
        "Detecting more needs datafog-core: pip install 'budget-suite[risk]'"
    ) from _error

_TAGS: Final = {
    "API_KEY": "SECRET_API_KEY",
    "BEARER_TOKEN": "SECRET_BEARER_TOKEN",
    "CREDENTIAL_URI": "SECRET_CREDENTIAL_URI",
    "PRIVATE_KEY": "SECRET_PRIVATE_KEY",
    "PHONE": "PII_PHONE",
    "NPI": "PII_NPI",
    "US_ROUTING_NUMBER": "FINANCIAL_US_ROUTING_NUMBER",
    "DE_IBAN": "FINANCIAL_DE_IBAN",
    "DE_PASSPORT_NUMBER": "PII_DE_PASSPORT_NUMBER",
    "DE_RESIDENCE_PERMIT_NUMBER": "PII_DE_RESIDENCE_PERMIT_NUMBER",
    "DE_SOCIAL_SECURITY_NUMBER": "PII_DE_SOCIAL_SECURITY_NUMBER",
    "DE_TAX_ID": "PII_DE_TAX_ID",
    "DE_VAT_ID": "PII_DE_VAT_ID",
}
"""What it finds beyond `analyze_text`, less dates, postal codes, and IP addresses: the time that it
takes to look for these grows with the square of a text's length."""


def datafog(text: str) -> list[str]:
    """Return the tags of what DataFog's detectors find in a text, each once.

    They are written in Rust, know no words, and take 50 ms for a megabyte at most.

    >>> datafog("Call +1 415 555 2671")
    ['PII_PHONE']
    """
    whole = text.encode(errors="replace").decode()  # half a surrogate pair is none of Rust's
    found = datafog_core.scan(whole, {"entities": list(_TAGS), "locale": "de"})
    return sorted({_TAGS[one.entity_type] for one in found})
