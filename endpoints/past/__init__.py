"""What was: flips, checks, their sums, and what people changed."""
