"""Fixtures that every suite shares."""

import gc
import signal
import ssl

import hypothesis
import pytest

from budget_core.testing import Provider

hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")  # machines that are busy find no fault in the code


def pytest_collection_modifyitems(items):
    """Trace for coverage what the core's own tests run: it takes half as long again."""
    for item in items:
        if "budget_core" not in item.path.parts:
            item.add_marker(pytest.mark.no_cover)


def pytest_collection_finish():
    """Spare collections in tests the modules of all frameworks, which take seconds to traverse."""
    gc.collect()
    gc.freeze()


CERTIFICATES = ssl.create_default_context()


@pytest.fixture
def quick_clients(monkeypatch):
    """Making HTTP clients takes most of a short test: they read certificates, to verify nobody."""
    monkeypatch.setattr(ssl, "create_default_context", lambda *_, **__: CERTIFICATES)


@pytest.fixture
def provider():
    with Provider() as running:
        yield running


@pytest.fixture
def interruptible():
    """Let the programs that a test starts be interrupted, also where the test may not be.

    What is started in the background often ignores SIGINT, and hands that on.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
