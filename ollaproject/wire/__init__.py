"""The wire library: formats that every room speaks. It imports no room and no model."""
