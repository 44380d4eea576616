"""The fleet over REST."""
