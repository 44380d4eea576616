"""The dashboard, the pages of endpoints, and what keeps them live."""
