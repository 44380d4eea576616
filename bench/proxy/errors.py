"""What stops a benchmark: a sentence for the person who started it."""

from __future__ import annotations


class BenchError(Exception):
    """The run cannot go on; the message says why and what to try."""
