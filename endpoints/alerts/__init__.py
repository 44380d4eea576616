"""Whom to tell of what happens, and how it reaches them."""
