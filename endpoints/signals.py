"""Signals do one thing only: they bump the version of the routing table."""

from __future__ import annotations
