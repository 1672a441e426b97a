"""What an error tells of money."""

import httpx
import pytest

from budget_core import AgentBudget, CallRequest, Usage
from budget_core.frameworks.outcomes import ending

REFUSED = httpx.ConnectError("refused")


@pytest.mark.parametrize(("error", "spent"), [(REFUSED, 0), (KeyError(), 10_000_000)])
def test_a_call_ends_as_its_block_does(error, spent):
    session = AgentBudget("$1", parent=None).session()
    request = CallRequest(model="gpt-4o", input_tokens=0, output_cap=1_000)
    with pytest.raises(type(error)), ending(session.open_call(request)):
        raise error
    assert (session.spent_nanos, session.reserved) == (spent, 0)
    with ending(session.open_call(request)) as call:
        call.finish(Usage(0, 1))
    assert session.spent_nanos == spent + 10_000
    with ending(session.open_call(request)):
        pass
    assert session.spent_nanos == spent + 10_000 + 10_000_000
