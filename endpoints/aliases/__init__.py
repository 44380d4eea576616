"""Names under which clients reach models, whatever these are called."""
