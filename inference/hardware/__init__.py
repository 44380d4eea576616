"""What depends on the machine: memory, matrix products, and what MLX is slow at on a processor."""
