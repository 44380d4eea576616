"""What machines read about the gateway and its models."""
