"""Requests in other formats than chat: passed through, translated, or split over endpoints."""
