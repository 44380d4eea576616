"""The fleet in Django's admin."""
