"""What an error tells of money."""

import httpx

from budget_core.outcomes import unbilled


def test_an_error_that_is_its_own_cause_comes_to_an_end():
    error, other = ValueError("not what was asked for"), ValueError("nor this")
    error.__cause__ = error
    assert not unbilled(error)
    error.__cause__, other.__cause__ = other, error
    assert not unbilled(error)


def test_what_never_left_is_found_behind_other_errors():
    error = ConnectionError("no")
    error.__cause__ = httpx.ConnectError("refused")
    assert unbilled(error)
