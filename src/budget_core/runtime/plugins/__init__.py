"""Plugins by pluggy: found, registered, and asked in isolation."""
