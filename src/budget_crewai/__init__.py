"""CrewAI under a budget.

The middleware for crews is not part of this release. Until it is, the OpenAI calls of a crew are
guarded where every OpenAI call is: by `budget_core.sdk`.
"""
