"""Accounts, holds and windows, as they are kept in memory."""
