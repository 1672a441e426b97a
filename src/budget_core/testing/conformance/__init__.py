"""The proof that an adapter keeps the promises: subclass `AdapterConformance` in your tests.

Needs pytest, and ``pip install 'budget-suite[testing]'``. See docs/adapters.md.
"""

from budget_core.testing.conformance.job import Job
from budget_core.testing.conformance.suite import AdapterConformance
from budget_core.testing.conformance.tools import BrokenTool

__all__ = ["AdapterConformance", "BrokenTool", "Job"]
