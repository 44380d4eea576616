"""What is known of models: from lists, details and names."""
