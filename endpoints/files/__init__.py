"""The fleet as a file: read, written, imported and exported."""
