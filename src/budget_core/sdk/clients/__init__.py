"""Clients of the provider SDKs that carry a budget of their own."""
