"""Amounts, limits and usage, in whole numbers."""
