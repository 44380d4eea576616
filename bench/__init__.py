"""Measurements of the product beside its peers. Nothing in here runs in production."""
