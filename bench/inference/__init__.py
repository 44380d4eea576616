"""Measures the model server, side by side with mlx_lm.server."""
