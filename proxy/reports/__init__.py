"""What was used and what it costs, as people ask for it."""
