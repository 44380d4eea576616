"""The routing table in memory, how it is kept new, and the strategies that choose from it."""
