"""AutoGen under a budget.

The adapters for AgentChat and classic AutoGen are not part of this release. Until they are,
AutoGen's OpenAI clients are guarded where every OpenAI call is: by `budget_core.sdk`.
"""
