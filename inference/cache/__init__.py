"""What models have read, kept for whoever comes next: in memory and on the disk."""
