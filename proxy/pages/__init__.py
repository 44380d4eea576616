"""The door's pages: requests, models, the playground."""
