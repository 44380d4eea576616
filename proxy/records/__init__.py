"""What came of requests: counted, summed up, written down and told to monitoring."""
