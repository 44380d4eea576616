"""What choosing an endpoint costs, and what choosing well is worth."""

from __future__ import annotations
