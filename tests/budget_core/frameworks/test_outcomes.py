"""What an error tells of money."""

import aiohttp
import httpx
import pytest

from budget_core import AgentBudget, CallRequest, Usage
from budget_core.calls.outcomes import unbilled
from budget_core.frameworks.outcomes import ending


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


def test_the_error_of_an_http_client_tells_the_status():
    request = httpx.Request("POST", "http://provider")
    for status, free in ((500, True), (429, True), (504, False)):
        answer = httpx.Response(status, request=request)
        assert unbilled(httpx.HTTPStatusError("no", request=request, response=answer)) == free
        # whose `code` warns: pytest would fail
        assert unbilled(aiohttp.ClientResponseError(None, (), status=status)) == free


class Refused(Exception):
    status_code = 429


@pytest.mark.parametrize(("error", "spent"), [(Refused, 0), (KeyError, 10_000_000)])
def test_a_call_ends_as_its_block_does(error, spent):
    session = AgentBudget("$1", parent=None).session()
    request = CallRequest(model="gpt-4o", input_tokens=0, output_cap=1_000)
    with pytest.raises(error), ending(session.open_call(request)):
        raise error
    assert (session.spent_nanos, session.reserved) == (spent, 0)
    with ending(session.open_call(request)) as call:
        call.finish(Usage(0, 1))
    assert session.spent_nanos == spent + 10_000
    with ending(session.open_call(request)):
        pass
    assert session.spent_nanos == spent + 10_000 + 10_000_000
