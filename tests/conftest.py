"""Fixtures that every suite shares."""

import pytest

from budget_core.testing import Provider


@pytest.fixture
def provider():
    with Provider() as running:
        yield running
