"""The adapters to frameworks that `agentbudget` documents."""
